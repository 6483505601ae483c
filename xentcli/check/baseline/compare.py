"""A report against a baseline: what fails that it does not list, what passes that it lists."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from importlib import metadata
from typing import TYPE_CHECKING

from xentcli.check.known import Comparison, Failure
from xentcli.check.report import MEASURED, SEARCH, SEVERITIES, worst_severity
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from xentcli.check.baseline.entries import Baseline
    from xentcli.check.known import Entry
    from xentcli.check.report import CheckFinding, CheckResult, Report


def compare(report: "Report", baseline: "Baseline") -> Comparison:
    """Hold a report against a baseline.

    An entry whose check was run to its end has to be seen to fail in each way that it lists. Raises XentError
    where the version of an entry's library is not known.
    """
    failures = list(failures_of(report))
    ran = {check.name: check for check in report.checks if check.status != "skipped"}
    used = [
        entry for entry in baseline.entries if entry.check in ran and applies(entry, report, baseline.path)
    ]
    known: list[tuple[Failure, Entry]] = []
    new: list[tuple[Failure, Entry | None]] = []
    newer: list[Failure] = []
    for failure in failures:
        listed = [entry for entry in used if _lists(entry, failure)]
        entry = next((entry for entry in listed if _allows(entry, failure)), None)
        if entry is not None:
            known.append((failure, entry))
        elif listed:
            new.append((failure, max(listed, key=lambda entry: entry.ulps or 0.0)))
        elif failure.since > baseline.suite:
            newer.append(failure)
        else:
            new.append((failure, None))
    stale = []
    for entry in used:
        seen = {failure.kind for failure in failures if _lists(entry, failure)}
        gone = tuple(kind for kind in entry.fails if kind not in seen)
        if gone and ran[entry.check].is_whole:
            stale.append((entry, gone))
    unused = len(baseline.entries) - len(used)
    return Comparison(
        baseline.path, baseline.suite, tuple(known), tuple(new), tuple(stale), tuple(newer), unused
    )


def failures_of(report: "Report") -> Iterator[Failure]:
    """Yield the failures of a report, check by check."""
    for check in report.checks:
        groups: dict[tuple[str | None, str], list[CheckFinding]] = defaultdict(list)
        for finding in check.findings:
            # The search keeps one example of a kind, in whichever dtype it comes first.
            dtype = None if check.category == SEARCH else finding.dtype
            groups[dtype, finding.name].append(finding)
        for (dtype, kind), findings in groups.items():
            yield _failure(check, dtype, kind, findings)


def _failure(
    check: "CheckResult", dtype: str | None, kind: str, findings: "Sequence[CheckFinding]"
) -> Failure:
    error, worst = max(((_error(finding), finding) for finding in findings), key=lambda pair: pair[0])
    severity = worst_severity(findings) or SEVERITIES[0]
    ulps = error if kind in MEASURED else None
    return Failure(check.name, dtype, kind, severity, ulps, worst.message, check.since)


def _error(finding: "CheckFinding") -> Decimal:
    """Return the error of a finding; one that is not a number is larger than all."""
    if finding.name not in MEASURED:
        return Decimal(0)
    error = finding.ulps
    return Decimal("inf") if error is None else error


def applies(entry: "Entry", report: "Report", path: str) -> bool:
    """Whether an entry is of the report's device and of the version of the library that the loss is in."""
    if entry.device not in {None, report.device}:
        return False
    if entry.version is None:
        return True
    version = _version(entry.version.library, report)
    if version is None:
        library = entry.version.library
        what = (
            f"{library} is not installed"
            if library
            else "the loss is in no library: name one, as 'numpy >=2'"
        )
        raise XentError(f"{printable(path)}:{entry.line}: version: {what}")
    return entry.version.contains(version)


def _version(library: str | None, report: "Report") -> str | None:
    """Return the version of a library, without a name of the one that the loss is in, else of its arrays."""
    if library is None:
        return report.versions.partition(",")[0].rpartition(" ")[2] or None
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _lists(entry: "Entry", failure: Failure) -> bool:
    """Whether an entry is of the check, the dtype and the kind of a failure, however large its error is."""
    same = entry.check == failure.check and failure.kind in entry.fails
    return same and entry.dtype in {None, failure.dtype}


def _allows(entry: "Entry", failure: Failure) -> bool:
    return failure.ulps is None or (entry.ulps is not None and failure.ulps <= Decimal(entry.ulps))
