"""export: test vectors, for who cannot run xent where the loss is tested."""

from typing import TYPE_CHECKING

import click

from xentcli.cli.options import cases_argument, note, note_skipped, output_option

if TYPE_CHECKING:
    from xentcli.model import Case


@click.command()
@cases_argument
@output_option
def export(cases: tuple[str, ...], output: str | None) -> None:
    """Write test vectors: inputs, true losses and gradients, and how near a loss must come to them.

    With CASE (files, folders, names of bundled cases) of these, else of every bundled one. The suffix of -o
    decides the format: .npz for NumPy, .parquet, or .json with hexadecimal floats. docs/loss-protocol.md says
    how to test a loss with them.

    \b
    Examples:
      xent export -o vectors.npz
      xent export abnormal cases/cancellation -o vectors.json
    """
    from pathlib import PurePath

    from xentcli.cli import output as outputs
    from xentcli.cli.progress import progress
    from xentcli.errors import XentError, count, printable

    suffixes = (".npz", ".parquet", ".json")
    if output is None:
        raise click.UsageError(f"name a file: -o vectors{suffixes[0]}, {suffixes[1]} or {suffixes[2]}")
    if (suffix := PurePath(output).suffix) not in suffixes:
        raise XentError(f"{printable(output)}: ends in none of {', '.join(suffixes)}, which are the formats")
    from xentcli import atlas
    from xentcli.check.vectors import vectors
    from xentcli.load import sources
    from xentcli.show.vectors import WRITERS

    loaded = _load(cases)
    outputs.refuse_conflicts([output], [case.path for case in loaded])
    with outputs.opened(output) as write:
        with progress("evaluating") as show:
            made = vectors(loaded, show)
        write(WRITERS[suffix](made))
    examples = sum(len(vector.losses) for vector in made)
    note(f"wrote {count(len(made), 'vector')} with {count(examples, 'example')} to {output}")
    if not cases:
        note_skipped(len(sources.bundled()) - len(atlas.entries()))


def _load(cases: tuple[str, ...]) -> "list[Case]":
    """Load the cases that are named, none where none is; raises XentError where two have one name."""
    from xentcli import load
    from xentcli.errors import XentError
    from xentcli.load import sources

    loaded = load.load_all(*sources.read_all(cases)) if cases else []
    names = [case.name for case in loaded]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise XentError(f"two cases are called '{double}'; write them to two files")
    return loaded
