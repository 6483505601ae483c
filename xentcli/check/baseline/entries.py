"""A baseline file → its entries, each with its line."""

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from xentcli.check.baseline.releases import Range
from xentcli.check.known import Entry
from xentcli.check.plan import CASES_SINCE, CONTRACT, NO_CALLS
from xentcli.check.properties import PROPERTIES
from xentcli.check.report import MEASURED, SEARCH, SUITE
from xentcli.errors import XentError, did_you_mean, printable
from xentcli.formats import FORMATS
from xentcli.load.sources import bundled

_MOST_BYTES: Final = 2**20  # thousands of entries
_HEADER: Final = re.compile(r"\s*\[\[\s*known\s*\]\]\s*(#.*)?")
_TOML_PLACE: Final = re.compile(r"\s*\(at line (\d+), column \d+\)")  # of tomllib up to Python 3.13
_KEYS: Final = ("check", "dtype", "device", "version", "fails", "ulps", "reason", "url")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline file: its path and text, the suite that it was written for, its entries in order."""

    path: str
    text: str
    suite: int
    entries: tuple[Entry, ...]


def read_baseline(path: str, own: Collection[str] = (), *, drafts: bool = False) -> Baseline:
    """Read a file; ``own`` are names of checks besides those of the suite, and ``drafts`` may lack a reason.

    Raises XentError, with file and line, for what is no baseline.
    """
    return parse_baseline(path, _text(path), own, drafts=drafts)


def parse_baseline(path: str, text: str, own: Collection[str] = (), *, drafts: bool = False) -> Baseline:
    """Read the text of a file, as ``read_baseline``."""
    reader = _Reader(path, text.split("\n"))
    data = reader.parsed()
    suite = data.pop("suite", None)
    if type(suite) is not int or suite < 1:
        reader.refuse(1 if suite is None else reader.line("suite", 1), f"say which suite: suite = {SUITE}")
    if suite > SUITE:
        newer = f"suite {suite} is newer than this xent, whose suite is {SUITE}; upgrade xent"
        reader.refuse(reader.line("suite", 1), newer)
    tables = data.pop("known", [])
    for name in data:
        reader.refuse(
            reader.line(name, 1), f"unknown key '{name}'{did_you_mean(name, ['suite', '[[known]]'])}"
        )
    if not isinstance(tables, list) or len(tables) != len(reader.starts):
        reader.refuse(1, "write each known failure as a table of its own, under [[known]]")
    names = [*known_checks(), *own]
    entries = (
        _entry(reader, *pair, names, drafts=drafts) for pair in zip(reader.starts, tables, strict=True)
    )
    return Baseline(path, text, suite, tuple(entries))


def known_checks() -> dict[str, int]:
    """Return the first suite that has each check, whatever loss it suits and whatever is installed."""
    calls = (file for file in bundled() if not {file.parent.name, file.stem} & NO_CALLS)
    cases = {file.stem: CASES_SINCE.get(file.stem, 1) for file in calls}
    return cases | {each.name: each.since for each in PROPERTIES} | dict.fromkeys((*CONTRACT, SEARCH), 1)


def starts_of(lines: list[str]) -> list[int]:
    """Return the numbers of the lines, from 1, at which entries begin."""
    return [number for number, line in enumerate(lines, 1) if _HEADER.fullmatch(line)]


class _Reader:
    """The lines of a file, and where an entry or a key of it begins."""

    def __init__(self, path: str, lines: list[str]) -> None:
        self.path, self.lines, self.starts = path, lines, starts_of(lines)

    def parsed(self) -> dict[str, Any]:
        try:
            return tomllib.loads("\n".join(self.lines))
        except (ValueError, RecursionError) as error:  # of a number of 5,000 digits, of lists a thousand deep
            place = _TOML_PLACE.search(str(error))
            problem = f"no TOML: {_TOML_PLACE.sub('', str(error))}"
            self.refuse(int(place[1]) if place else getattr(error, "lineno", len(self.lines)), problem)

    def line(self, key: str, start: int) -> int:
        """Return the line of a key of the table that begins at a line, else that line."""
        end = next((number for number in self.starts if number > start), len(self.lines) + 1)
        is_key = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
        numbered = enumerate(self.lines[start - 1 : end - 1], start)
        return next((number for number, line in numbered if is_key.match(line)), start)

    def refuse(self, line: int, problem: str) -> NoReturn:
        raise XentError(f"{printable(self.path)}:{line}: {printable(problem)}")


def _entry(reader: _Reader, start: int, table: Any, names: list[str], *, drafts: bool) -> Entry:  # noqa: ANN401 - what TOML holds
    """Read one table, in the order in which its problems are told."""
    for key in table:
        if key not in _KEYS:
            reader.refuse(reader.line(key, start), f"unknown key '{key}'{did_you_mean(key, _KEYS)}")
    texts = {}
    for key in ("check", "dtype", "device", "version", "reason", "url"):
        texts[key] = table.get(key)
        if not isinstance(texts[key], str | None):
            reader.refuse(reader.line(key, start), f"{key}: expected a text in quotes")
    check, dtype, version = texts["check"], texts["dtype"], texts["version"]
    if not check:
        reader.refuse(start, 'name the check that fails: check = "…"')
    if check not in names:
        near = did_you_mean(check, names, "'xent check --list' has them")
        reader.refuse(reader.line("check", start), f"no check is called '{check}'{near}")
    if dtype is not None and dtype not in FORMATS:
        reader.refuse(
            reader.line("dtype", start), f"unknown dtype '{dtype}'{did_you_mean(dtype, list(FORMATS))}"
        )
    if dtype is not None and check in {*CONTRACT, SEARCH}:
        reader.refuse(reader.line("dtype", start), f"'{check}' is of all dtypes; remove this line")
    reason = (texts["reason"] or "").strip()
    if not reason and not drafts:
        reader.refuse(reader.line("reason", start), 'give the reason for which it may fail: reason = "…"')
    fails = _fails(reader, start, table.get("fails"))
    return Entry(
        line=start,
        check=check,
        fails=fails,
        reason=reason,
        ulps=_ulps(reader, start, table.get("ulps"), fails),
        dtype=dtype,
        device=texts["device"],
        version=None if version is None else _range(reader, reader.line("version", start), version),
        url=texts["url"],
    )


def _fails(reader: _Reader, start: int, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - what TOML holds
    kinds = [value] if isinstance(value, str) else value
    if not isinstance(kinds, list) or not kinds or not all(isinstance(kind, str) for kind in kinds):
        how = 'say how it fails: fails = "collapsed", or a list of such words'
        reader.refuse(reader.line("fails", start), how)
    return tuple(dict.fromkeys(kinds))


def _ulps(reader: _Reader, start: int, value: Any, fails: tuple[str, ...]) -> float | None:  # noqa: ANN401
    """Return the largest error allowed, which kinds that have one need, and no others."""
    measured = [kind for kind in fails if kind in MEASURED]
    if value is None and measured:
        reader.refuse(
            reader.line("fails", start), f"'{measured[0]}' has an error: say the largest, as ulps = 120"
        )
    if value is not None and not measured:
        reader.refuse(reader.line("ulps", start), f"'{fails[0]}' has no error in ulps; remove this line")
    if value is not None and (type(value) not in {int, float} or not value >= 0):
        reader.refuse(reader.line("ulps", start), "ulps: expected a number, at least 0")
    return None if value is None else float(str(value))  # an integer may be beyond float64


def _range(reader: _Reader, line: int, text: str) -> Range:
    try:
        return Range.parse(text)
    except XentError as error:
        reader.refuse(line, str(error))


def _text(path: str) -> str:
    name = printable(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise XentError(
                f"{name}: larger than {_MOST_BYTES // 2**20} MiB; a baseline has an entry per failure"
            )
        return data.decode().replace("\r\n", "\n")
    except FileNotFoundError as error:
        raise XentError(f"{name}: no such file; --baseline-update makes it") from error
    except (OSError, ValueError) as error:
        raise XentError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
