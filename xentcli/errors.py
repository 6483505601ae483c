"""Errors that a person can mend, each with its place, and the words that messages share."""

import re
from collections.abc import Sequence
from itertools import islice

_SUGGESTED = 3  # names with the word typed in them
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\u200b\ufeff\U000e0000-\U000e007f]"
)
_COMMAND = re.compile(r"(?<!\S)(?:::|##\[)")  # GitHub's and Azure's
_LONGEST_LINE, _END = 1000, 200  # characters of a line of a message, and how many of its last stay
_WINDOW = 76  # columns of a source line around a problem: with a margin, a terminal of 80


class XentError(Exception):
    """An error that a person can mend; printed as a message with exit code 2, never as a traceback."""


class CaseError(XentError):
    """One problem in one case file.

    ``line`` and ``column`` count from 1; both are None where the file as a whole is the problem.
    ``source`` is the line of the file and ``width`` the number of characters to mark in it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - a place in a file takes that many words
        self,
        path: str,
        problem: str,
        line: int | None = None,
        column: int | None = None,
        source: str | None = None,
        width: int = 1,
    ) -> None:
        super().__init__(path, problem, line, column)
        self.path, self.problem, self.line, self.column = path, problem, line, column
        self.source, self.width = source, width

    def __str__(self) -> str:
        """``path:line:column: problem``, as editors and terminals link it."""
        path = printable(self.path)
        place = path if self.line is None else f"{path}:{self.line}:{self.column}"
        return f"{place}: {printable(self.problem)}"

    def excerpt(self) -> str:
        """Return the source line with a caret under the problem, or nothing where there is no line."""
        if self.line is None or self.column is None or not self.source:
            return ""
        start = max(0, self.column - 1 - _WINDOW // 2) if len(self.source) > _WINDOW else 0
        shown = self.source[start : start + _WINDOW]
        excerpt = UNSAFE.sub(lambda match: "\t" if match[0] == "\t" else "�", shown)
        before = excerpt[: self.column - 1 - start]
        marked = excerpt[len(before) : len(before) + max(1, self.width)]
        margin = " " * len(str(self.line))
        pad = "".join(char if char == "\t" else " " * _cells(char) for char in before)
        carets = "^" * max(1, sum(map(_cells, marked)))
        return f" {self.line} | {excerpt}\n {margin} | {pad}{carets}"


class Refused(XentError):  # noqa: N818 - a name that says what was done with the files
    """All problems of all files, raised together."""

    _MOST_FILES, _MOST = 20, 10  # files printed, and problems of each

    def __init__(self, problems: Sequence[CaseError]) -> None:
        super().__init__(*problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        by_path: dict[str, list[CaseError]] = {}
        for problem in self.problems:
            by_path.setdefault(problem.path, []).append(problem)
        lines: list[str] = []
        for path, problems in islice(by_path.items(), self._MOST_FILES):
            for problem in problems[: self._MOST]:
                lines += filter(None, (str(problem), problem.excerpt()))
            if len(problems) > self._MOST:
                lines.append(f"{printable(path)}: and {count(len(problems) - self._MOST, 'more problem')}")
        if len(by_path) > self._MOST_FILES:
            lines.append(f"and problems in {count(len(by_path) - self._MOST_FILES, 'more file')}")
        return "\n".join(lines)


class Unavailable(Refused):
    """A case needs a library that is not installed."""


def did_you_mean(word: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """Return ``; did you mean 'x'?`` for known words near it or with it in them, else what is known.

    ``otherwise`` is said in place of a long list of what is known.
    """
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1)
    near = near or [name for name in known if len(word) > 1 and word in name][:_SUGGESTED]
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; {otherwise or 'known are ' + ', '.join(known)}"


def count(number: int, what: str, several: str | None = None) -> str:
    """Return ``1 row``, ``2 rows``, ``2 classes``."""
    return f"{number} {what if number == 1 else several or what + 's'}"


def printable(text: str) -> str:
    """Return a text that is inert on a line of any terminal or log.

    Escaped are control characters, line ends among them, what turns the direction of text round, lone
    surrogates, and what a CI runner takes for a command where it begins a line.
    """
    safe = UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)
    return _COMMAND.sub(lambda match: f"\\x{ord(match[0][0]):02x}{match[0][1:]}", safe)


def printable_lines(text: str) -> str:
    """Return a message of several lines, each of them inert, and its middle left out where it is too long."""
    return "\n".join(printable(_cut(line.replace("\t", " "))) for line in text.split("\n"))


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - _END]} … {line[-_END:]}"


def _cells(char: str) -> int:
    """Columns that a character takes on a terminal."""
    import unicodedata

    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
