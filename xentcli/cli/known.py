"""The options of ``xent check`` that name files of what is known: a baseline, and a record of errors."""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from xentcli.cli.options import note, option, options
from xentcli.errors import XentError, count, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xentcli.check.baseline.entries import Baseline
    from xentcli.check.report import Report

known_options = options(
    option(
        "--baseline",
        metavar="FILE",
        help="Fail where the loss does not fail exactly what FILE lists, and no worse.",
    ),
    option(
        "--baseline-update",
        is_flag=True,
        help="Write into the file of --baseline what fails now; give each new entry a reason.",
    ),
    option("--record", metavar="FILE", help="Keep the largest error of each check in FILE."),
    option("--against", metavar="FILE", help="Fail where an error is larger than a FILE of --record has it."),
)


class KnownFiles(NamedTuple):
    """The files that are named; ``updates``: the baseline is written too."""

    baseline: str | None = None
    updates: bool = False
    record: str | None = None
    against: str | None = None

    def refuse(self, beside: str | None) -> None:
        """Raise XentError for options that do not go together."""
        if self.updates and self.baseline is None:
            raise XentError("--baseline-update: name the file: --baseline xent-baseline.toml")
        if self.baseline is not None and beside is not None:
            raise XentError("--baseline and --beside both say what may fail; give one of them")

    @property
    def read(self) -> list[str]:
        """The files that are read and stay as they are."""
        kept = [None if self.updates else self.baseline, None if self._is_replaced else self.against]
        return [path for path in kept if path is not None]

    @property
    def written(self) -> list[str | None]:
        """The files that are written."""
        return [self.record, self.baseline if self.updates else None]

    @property
    def _is_replaced(self) -> bool:
        """Whether the record that is read is written too: it is compared first."""
        return self.against is not None and self.against == self.record

    @contextmanager
    def opened(self, cases: "Sequence[str]") -> "Iterator[Callable[[Report], Report]]":
        """Yield what compares a report with the files and writes them, each when the block ends.

        ``cases`` are names of checks besides the suite's. Raises XentError, before any work, for a file that
        is not right or cannot be written.
        """
        from dataclasses import replace

        from xentcli.check.baseline.entries import read_baseline
        from xentcli.check.record import read_record
        from xentcli.cli import output

        baseline = None
        if self.baseline is not None and not (self.updates and not _exists(self.baseline)):
            baseline = read_baseline(self.baseline, cases, drafts=self.updates)
        recorded = None if self.against is None else read_record(self.against)
        with ExitStack() as stack:
            to_record, to_baseline = (
                stack.enter_context(output.opened(path)) if path is not None else None
                for path in self.written
            )

            def compare(report: "Report") -> "Report":
                from xentcli.check.baseline import compare as baselines
                from xentcli.check.baseline.update import update
                from xentcli.check.record import regression
                from xentcli.show.record import render

                current = baseline
                if self.baseline is not None and to_baseline is not None:
                    current = update(baseline, self.baseline, report, cases)
                    to_baseline(current.text)
                    _note_update(baseline, current)
                if current is not None:
                    report = replace(report, baseline=baselines.compare(report, current))
                if recorded is not None:
                    report = replace(report, regression=regression(report, recorded))
                if to_record is not None:
                    to_record(render(report))
                return report

            yield compare


def _exists(path: str) -> bool:
    from pathlib import Path

    return Path(path).exists()


def _note_update(old: "Baseline | None", new: "Baseline") -> None:
    """Say how many entries a baseline has now, and which of them want a reason."""
    lines = [str(entry.line) for entry in new.entries if not entry.reason]
    wanted = f"; give each new one a reason: line{'s' * (len(lines) > 1)} {', '.join(lines)}" if lines else ""
    before = 0 if old is None else len(old.entries)
    note(f"{printable(new.path)}: {count(len(new.entries), 'known failure')}, before {before}{wanted}")
