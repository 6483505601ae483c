"""Summaries of finished shards in a file, so that a run that was stopped does not begin anew.

The file is lines: what was asked, and by what, then a line per group of shards. A group begins as one shard;
64 of a size become one, so that of many thousands of shards there are few groups. A last line without its end
is left aside, and a line that was changed is refused. All is JSON, and nothing is unpickled.
"""

import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import reduce
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import numpy as np

from xentcli.diagnose.distribution import Distribution
from xentcli.diagnose.labels import Labels
from xentcli.diagnose.profile import Places, Profile
from xentcli.diagnose.recorded import Shared
from xentcli.diagnose.rules import Severity
from xentcli.diagnose.summary import Responses, Row, Tally
from xentcli.diagnose.top_k import BrokenRow
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Shard

_SCHEMA: Final = "xent.finished/1"
_GROUP: Final = 64  # groups of a size: 40,000 shards are 9 + 49 + 64 lines at most, a summary each


class Finished:
    """The finished shards of a run.

    ``asked`` is all that a summary depends on beside the shard, as JSON has it, by its name. A file of
    another question, or by other programs, is refused.
    """

    def __init__(self, path: str, asked: Mapping[str, Any]) -> None:
        if path == "-" or (Path(path).exists() and not Path(path).is_file()):
            raise XentError(f"{printable(path)}: is no regular file; --resume needs one")
        # A link stays a link.
        self.path, self._place = path, Path(os.path.realpath(path))
        self._head: dict[str, Any] = json.loads(json.dumps({"schema": _SCHEMA, **asked}))
        self._groups: list[tuple[tuple[str, ...], str]] = []  # the shards' keys, and their summary as JSON
        self._nothing: Any = None
        self._file: IO[str] | None = None
        if self._place.exists():
            self._read()

    def _read(self) -> None:
        with self._named_errors("read"):
            text = self._place.read_text(encoding="utf-8", errors="replace")
        if not text:
            return
        try:
            head, *lines = text[: text.rfind("\n") + 1].splitlines()
            had = json.loads(head)
            for line in lines:
                keys, summary, digest = line.split("\t")
                if digest != _digest(keys, summary):
                    raise self._unusable()
                self._groups.append((tuple(map(json.dumps, json.loads(keys))), summary))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._unusable() from error
        every = [key for keys, _ in self._groups for key in keys]
        if not isinstance(had, dict) or had.get("schema") != _SCHEMA or len(set(every)) < len(every):
            raise self._unusable()
        other = [name for name, value in self._head.items() if had.get(name) != value]
        if other:
            was, now = (printable(json.dumps(each.get(other[0])))[:60] for each in (had, self._head))
            raise XentError(
                f"{printable(self.path)}: is of a run with another {other[0]} ({was}; now {now}); "
                "give another file"
            )

    def _unusable(self) -> XentError:
        return XentError(f"{printable(self.path)}: is no file of --resume; give another name")

    @contextmanager
    def _named_errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or error
            raise XentError(f"{printable(self.path)}: cannot be {done}: {why}") from error

    def __enter__(self) -> Self:
        """Open the file; shards are added to it."""
        self._rewrite()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; it stays, so that shards can be added to the dump."""
        if self._file is not None:
            self._file.close()

    def _rewrite(self) -> None:
        """Write the file anew, which appears whole."""
        self.__exit__()
        lines = (json.dumps(self._head) + "\n", *map(_line, self._groups))
        name = self._place.parent / f".{self._place.name[:100]}.{os.urandom(8).hex()}"
        with self._named_errors("written"):
            try:
                with name.open("x", encoding="utf-8") as file:
                    file.writelines(lines)
                name.replace(self._place)
            except BaseException:
                name.unlink(missing_ok=True)
                raise
            self._file = self._place.open("a", encoding="utf-8")

    def summaries(self, shards: "Sequence[Shard]", nothing: Any) -> list[tuple[frozenset[int], Any]]:  # noqa: ANN401 - of the question's kind
        """Return the summaries of groups of shards that are as they were, and their numbers.

        ``nothing`` is the summary of no rows.
        """
        self._nothing, found = nothing, []
        numbers = {_key(shard): number for number, shard in enumerate(shards)}
        self._groups = [group for group in self._groups if all(key in numbers for key in group[0])]
        for keys, text in self._groups:
            found.append((frozenset(numbers[key] for key in keys), self._summary(text)))
        return found

    def _summary(self, text: str) -> Any:  # noqa: ANN401 - as above
        return _summary(json.loads(text), type(self._nothing))

    def write(self, shard: "Shard", summary: Any) -> None:  # noqa: ANN401 - as above
        """Add a shard, at once: what is in the file is whole, whatever ends the run."""
        self._groups.append(((_key(shard),), json.dumps(_plain(summary))))
        if self._merge():
            self._rewrite()
        elif self._file is not None:
            with self._named_errors("written"):
                self._file.write(_line(self._groups[-1]))
                self._file.flush()

    def _merge(self) -> bool:
        """Make one group of 64 of the size of the last one; say whether there were so many."""
        merged = False
        while True:
            size = len(self._groups[-1][0])
            same = [group for group in self._groups if len(group[0]) == size]
            if len(same) < _GROUP:
                return merged
            whole = reduce(lambda one, other: one.merge(other), (self._summary(text) for _, text in same))
            keys = tuple(key for keys, _ in same for key in keys)
            others = [group for group in self._groups if len(group[0]) != size]
            self._groups, merged = [*others, (keys, json.dumps(_plain(whole)))], True


def _line(group: tuple[tuple[str, ...], str]) -> str:
    keys, summary = f"[{', '.join(group[0])}]", group[1]
    return f"{keys}\t{summary}\t{_digest(keys, summary)}\n"


def _digest(keys: str, summary: str) -> str:
    return blake2b(f"{keys}\t{summary}".encode(), digest_size=8).hexdigest()


def _key(shard: "Shard") -> str:
    """Return what a shard's summary follows from, as JSON: its first row, and its files as they were."""
    files = [[file.path, list(file.stamp)] for file in shard.files]
    of = None if shard.source is None else shard.source[:5]
    return json.dumps([shard.first, shard.labels is not None, of, files])


def _plain(value: Any) -> Any:  # noqa: ANN401 - a summary, and all that is in it
    """Return a value as JSON has it. float64 keeps all its digits; arrays keep their bits."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), base64.b64encode(value.tobytes()).decode()]
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {key.name if isinstance(key, Enum) else key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _array(plain: Any) -> Any:  # noqa: ANN401 - of JSON; an array, or None
    if plain is None:
        return None
    dtype, shape, data = plain
    if dtype not in {"float64", "float32", "int64", "uint32"}:
        raise ValueError(dtype)
    return np.frombuffer(base64.b64decode(data, validate=True), dtype).reshape(shape)


def _rows(plain: Any) -> tuple[Row, ...]:  # noqa: ANN401 - of JSON
    return tuple(Row(*row) for row in plain)


def _tallies(plain: Any) -> dict[str, Tally]:  # noqa: ANN401 - of JSON
    return {name: Tally(each["number"], _rows(each["worst"])) for name, each in plain.items()}


def _distribution(plain: Any) -> Distribution:  # noqa: ANN401 - of JSON
    counted = plain["counted"]
    return Distribution(
        plain["number"],
        plain["smallest"],
        plain["largest"],
        tuple(map(_array, plain["values"])),
        None if counted is None else (_array(counted[0]), _array(counted[1])),
    )


def _shared(plain: Any) -> Shared:  # noqa: ANN401 - of JSON
    ratio, offset, smoothing = (tuple(plain[name]) for name in ("ratio", "offset", "smoothing"))
    return Shared(plain["rows"], ratio, offset, smoothing, _array(plain["weights"]))


def _profile(plain: Any) -> Profile:  # noqa: ANN401 - of JSON
    places = {
        name: Places(each["first"], each["last"], _array(each["counts"]))
        for name, each in plain["places"].items()
    }
    return Profile(_distribution(plain["gaps"]), places)


# How each field of a summary is read that is no number.
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "losses": _distribution,
    "midrange": _distribution,
    "range": _distribution,
    "rules": _tallies,
    "harmed": _tallies,
    "severities": lambda plain: {Severity[name]: number for name, number in plain.items()},
    "labels": lambda plain: Labels(**{**plain, "counts": _array(plain["counts"])}),
    "responses": lambda plain: Responses(
        **{**plain, "states": _tallies(plain["states"]), "shared": _shared(plain["shared"])}
    ),
    "sample": _rows,
    "profile": _profile,
    "inside": _distribution,
    "outside": _distribution,
    "broken": lambda plain: tuple(BrokenRow(*row) for row in plain),
}


def _summary(plain: Any, kind: type) -> Any:  # noqa: ANN401 - of JSON, and a summary
    return kind(**{name: _READ.get(name, lambda each: each)(value) for name, value in plain.items()})
