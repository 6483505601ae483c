"""Summaries of finished shards in a file, so that a run that was stopped does not begin anew.

The file is lines of JSON: what was asked, and by what, then a line per shard; a last line without its end is
left aside. Nothing of it is unpickled.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import numpy as np

from xentcli.diagnose.distribution import Distribution
from xentcli.diagnose.recorded import Shared
from xentcli.diagnose.rules import Severity
from xentcli.diagnose.summary import Labels, Responses, Row, Tally
from xentcli.diagnose.top_k import BrokenRow
from xentcli.errors import XentError, printable

if TYPE_CHECKING:
    from xentcli.diagnose.dumps import Shard

_SCHEMA: Final = "xent.finished/1"


class Finished:
    """The finished shards of a run.

    ``asked`` is all that a summary depends on beside the shard: a file of another question, or by other
    programs, is refused.
    """

    def __init__(self, path: str, asked: Mapping[str, Any]) -> None:
        self.path, self._head = path, {"schema": _SCHEMA, **json.loads(json.dumps(asked))}
        self._known: dict[str, str] = {}
        self._file: IO[str] | None = None
        if Path(path).exists():
            self._read()

    def _read(self) -> None:
        text = Path(self.path).read_text(encoding="utf-8", errors="replace")
        lines = text[: text.rfind("\n") + 1].splitlines()
        try:
            head = json.loads(lines[0]) if lines else self._head
            for line in lines[1:]:
                shard, summary = line.split("\t")
                self._known[shard] = summary
        except ValueError as error:
            raise XentError(f"{printable(self.path)}: is no file of --resume") from error
        if not isinstance(head, dict) or head.get("schema") != _SCHEMA:
            raise XentError(f"{printable(self.path)}: is no file of --resume")
        other = [name for name, value in self._head.items() if head.get(name) != value]
        if other:
            had = printable(json.dumps(head.get(other[0]))[:80])
            raise XentError(
                f"{printable(self.path)}: is of a run with another {other[0]}, {had}; give another file"
            )

    def __enter__(self) -> Self:
        """Open the file; shards are added to it."""
        text = (
            "" if not self._known else "".join(f"{shard}\t{found}\n" for shard, found in self._known.items())
        )
        temporary = Path(f"{self.path}.part")
        temporary.write_text(json.dumps(self._head) + "\n" + text, encoding="utf-8")
        temporary.replace(self.path)
        self._file = Path(self.path).open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; it stays, so that shards can be added to the dump."""
        if self._file is not None:
            self._file.close()

    def summaries(self, shards: "Sequence[Shard]", kind: type) -> dict[int, Any]:
        """Return the summaries, of a kind, of those shards, by their number, that are as they were."""
        found = {}
        for number, shard in enumerate(shards):
            if (text := self._known.get(_key(shard))) is not None:
                try:
                    found[number] = _summary(json.loads(text), kind)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise XentError(f"{printable(self.path)}: is no file of --resume") from error
        return found

    def write(self, shard: "Shard", summary: Any) -> None:  # noqa: ANN401 - of any kind
        """Add a shard, at once: what is in the file is whole, whatever ends the run."""
        if self._file is not None:
            self._file.write(f"{_key(shard)}\t{json.dumps(_plain(summary))}\n")
            self._file.flush()


def _key(shard: "Shard") -> str:
    """Return what a shard's summary follows from, one line: its files as they were, and its first row."""
    return json.dumps([shard.first, *([file.path, list(file.stamp)] for file in shard.files)])


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
    "inside": _distribution,
    "outside": _distribution,
    "broken": lambda plain: tuple(BrokenRow(*row) for row in plain),
}


def _summary(plain: Any, kind: type) -> Any:  # noqa: ANN401 - of JSON, and a summary
    return kind(**{name: _READ.get(name, lambda each: each)(value) for name, value in plain.items()})
