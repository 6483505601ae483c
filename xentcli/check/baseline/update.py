"""A baseline file, brought up to date: entries stay where they are, with reason, url and comments."""

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import ROUND_UP, Context, Decimal
from typing import TYPE_CHECKING, Final

from xentcli.check.baseline.compare import compare
from xentcli.check.baseline.entries import Baseline, parse_baseline, starts_of
from xentcli.check.known import Entry, Failure
from xentcli.check.report import MEASURED, SUITE
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from xentcli.check.report import Report

_DIGITS: Final = 2  # of an error that is written, rounded up: another processor may round otherwise
_WHOLE: Final = Decimal(10) ** 15  # below, an error is written without an exponent
_EMPTY: Final = f"# What the loss is known to fail: 'xent check --baseline'.\nsuite = {SUITE}\n"


def update(baseline: Baseline | None, path: str, report: "Report", own: "Collection[str]" = ()) -> Baseline:
    """Return the baseline that a report holds against, made new where there is none.

    What passes is removed, a larger error is allowed, and what fails newly stands at the end, without a
    reason: a person gives it. Failures in checks newer than the file's suite are left out.
    """
    old = baseline or parse_baseline(path, _EMPTY, own)
    compared = compare(report, old)
    gone = {entry.line: kinds for entry, kinds in compared.stale}
    exceeded: dict[int, Decimal] = {}
    for failure, entry in compared.new:
        if entry is not None and failure.ulps is not None:
            exceeded[entry.line] = max(exceeded.get(entry.line, Decimal(0)), failure.ulps)
    lines = old.text.rstrip("\n").split("\n")
    starts = starts_of(lines)
    kept = lines[: starts[0] - 1] if starts else lines
    for entry, end in zip(old.entries, [*starts, len(lines) + 1][1:], strict=True):
        block = lines[entry.line - 1 : end - 1]
        kinds = [kind for kind in entry.fails if kind not in gone.get(entry.line, ())]
        if not kinds:
            kept = _without_heading(kept) + _after(block)
        elif entry.line in gone or entry.line in exceeded:
            kept += _changed(block, entry, kinds, exceeded.get(entry.line))
        else:
            kept += block
    text = "\n".join(kept).rstrip("\n") + "\n"
    text += "".join(_tables((failure for failure, entry in compared.new if entry is None), report.device))
    updated = parse_baseline(path, text, own, drafts=True)
    if not compare(report, updated).holds:
        raise XentError(
            f"{printable(path)}: cannot be updated in place; write a key and its value on one line"
        )
    return updated


def _without_heading(lines: list[str]) -> list[str]:
    """Leave out the comment that stands right above an entry: it speaks of that entry."""
    end = len(lines)
    while end and lines[end - 1].lstrip().startswith("#"):
        end -= 1
    return lines[:end]


def _after(block: list[str]) -> list[str]:
    """Return what follows the last key of an entry: comments, of the entries below."""
    end = len(block)
    while not block[end - 1].strip() or block[end - 1].lstrip().startswith("#"):
        end -= 1
    rest = block[end:]
    return rest[1:] if rest and not rest[0].strip() else rest


def _changed(block: list[str], entry: Entry, kinds: Sequence[str], error: Decimal | None) -> list[str]:
    """Return the lines of an entry with other kinds, and another error where there is one."""
    changes: dict[str, list[str]] = {}
    if len(kinds) < len(entry.fails):
        changes["fails"] = [_fails(kinds)]
    if not MEASURED.intersection(kinds):
        changes["ulps"] = []
    elif error is not None:
        changes["ulps"] = [f"ulps = {_number(error)}"]
    for key, line in changes.items():
        start, end = _span(block, key)
        block = block[:start] + line + block[end:]
    return block


def _span(block: list[str], key: str) -> tuple[int, int]:
    """Return where the lines of a key and its value begin and end in an entry; none where there is no key."""
    for start, line in enumerate(block):
        if re.match(rf"\s*[\"']?{key}[\"']?\s*=", line):
            for end in range(start + 1, len(block) + 1):
                with suppress(tomllib.TOMLDecodeError):
                    tomllib.loads("\n".join(block[start:end]))
                    return start, end
    return len(block), len(block)


def _tables(failures: Iterable[Failure], device: str) -> Iterable[str]:
    """Write an entry per check and dtype; its reason is left for a person to give."""
    groups: dict[tuple[str, str | None], list[Failure]] = defaultdict(list)
    for failure in failures:
        groups[failure.check, failure.dtype].append(failure)
    for (check, dtype), group in groups.items():
        errors = [failure.ulps for failure in group if failure.ulps is not None]
        yield "\n".join(
            [
                "",
                "[[known]]",
                f"check = {_text(check)}",
                *([] if dtype is None else [f"dtype = {_text(dtype)}"]),
                f"device = {_text(device)}",
                _fails([failure.kind for failure in group]),
                *([f"ulps = {_number(max(errors))}"] if errors else []),
                'reason = ""',
                "",
            ]
        )


def _fails(kinds: Sequence[str]) -> str:
    words = ", ".join(map(_text, kinds))
    return f"fails = {words}" if len(kinds) == 1 else f"fails = [{words}]"


def _number(error: Decimal) -> str:
    """Write an error as TOML has it, rounded up to two digits."""
    if not error.is_finite():
        return "inf"
    up = Context(prec=_DIGITS, rounding=ROUND_UP).plus(error)
    return f"{up:f}" if up < _WHOLE else f"{up:.1e}"


def _text(word: str) -> str:
    """Write a text as TOML has it: as JSON does, but for DEL."""
    return json.dumps(word, ensure_ascii=False).replace("\x7f", "\\u007f")
