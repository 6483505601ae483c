"""What run, compare and explain share: from the cases named to their results."""

from typing import TYPE_CHECKING

from xentcli.cli.options import note, note_not_installed, note_skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xentcli.judge import Result
    from xentcli.load import Overrides
    from xentcli.load.sources import Source
    from xentcli.model import Outcome

_EXIT_NOT_REPRODUCED = 1


def show_results(
    cases: tuple[str, ...],
    options: dict[str, str | None],
    output: str | None,
    render: "Callable[[Sequence[Result]], str]",
    inline: "Source | None" = None,
) -> int:
    """Load → run → judge → show; the output file is tried first, and every case read before anything runs."""
    from xentcli.cli import output as outputs
    from xentcli.show.sentences import closing

    overrides = checked_overrides(options)
    with outputs.opened(output) as write:
        results, skipped = evaluate_all(cases, overrides, output, inline)
        write(render(results))
    note(closing(results))
    note_skipped(skipped)
    return 0 if all(result.as_expected for result in results) else _EXIT_NOT_REPRODUCED


def checked_overrides(options: dict[str, str | None]) -> "Overrides":
    """Return the options that change a case; raises XentError where they do not go together."""
    from xentcli.load import Overrides
    from xentcli.methods import arithmetic

    overrides = Overrides(**options)
    if overrides.arithmetic and overrides.dtype:
        arithmetic.get(overrides.arithmetic, overrides.dtype)
    return overrides


def _from_dump(path: str) -> str:
    """Return the case of a dump; the reader is imported where there is one."""
    from xentcli.new import from_dump

    return from_dump(path)


def evaluate_all(
    cases: tuple[str, ...], overrides: "Overrides", output: str | None, inline: "Source | None" = None
) -> "tuple[list[Result], int]":
    """Read every case, refuse to replace one with its results, then run and judge.

    Return how many were skipped too. ``inline`` is a case that the command line has in place of ``cases``.
    """
    from xentcli import frameworks, load
    from xentcli.cli import output as outputs
    from xentcli.load import sources
    from xentcli.methods.table import select
    from xentcli.run import evaluate

    theirs, rest = frameworks.select(overrides.methods or "")
    files, problems = ([inline], []) if inline is not None else sources.read_all(cases, _from_dump)
    targets = [method.target for method in theirs if method.is_target]
    outputs.refuse_conflicts([output], [*(file.path for file in files), *outputs.sources_of(*targets)])
    loaded = load.load_all(files, problems, overrides)
    others: list[tuple[Outcome, ...]] = [()] * len(loaded)
    if theirs:
        from xentcli.cli.progress import progress
        from xentcli.frameworks import runner

        if frameworks.GROUP in map(str.strip, (overrides.methods or "").split(",")):
            note_not_installed()
        with progress("running frameworks") as show:
            others = runner.run(loaded, theirs, show=show)
    methods = (
        None if overrides.methods is None else () if theirs and not rest else select(rest, frameworks.NAMES)
    )
    results = [evaluate(case, methods, other) for case, other in zip(loaded, others, strict=True)]
    return results, len(files) - len(loaded)
