"""A convention of one's own: a file with a small table, which is read and never run."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from xentcli.errors import XentError, did_you_mean
from xentcli.methods.steps import NAMES as STEP_NAMES
from xentcli.words import Z_LOSS

_LARGEST: Final = 2**16  # characters of a file: a table has a few lines
_LIBRARIES: Final = ("numpy", "torch", "jax", "tensorflow")
_LABELS: Final = ("indices", "rows", "binary")
_RETURNS: Final = {"losses": "none", "mean": "mean", "sum": "sum"}
_SHARD: Final = {"logits", "labels", "rank", "world", "group"}
_ARGUMENTS: Final = ({"logits", "labels"}, {"hidden", "weight", "labels"}, _SHARD)
_RANKS: Final = (2, 3, 4)  # processes that share the classes: with two, some faults cancel
_OURS: Final = (
    "class_weights",
    "label_smoothing",
    "ignore_index",
    *STEP_NAMES,
    Z_LOSS,
    "num_items_in_batch",
    "reduction",
    "bias",
)
_OF_PRODUCTS: Final = ("numpy", "torch", "jax")  # libraries whose adapters make the factors of logits

Reader = Callable[[Any], Any]  # a value as it stands in the table → a field


class _UnfitError(Exception):
    """A value that its key cannot have."""


def read_table(path: str) -> dict[str, Any]:
    """Return the fields of a Convention besides its name.

    Raises XentError, which names the file, the line and what would be right, for what is no such table.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        raise XentError(f"{path}: {why}") from error
    if len(text) > _LARGEST:
        raise XentError(f"{path}: is longer than {_LARGEST} characters; expected a table of a few lines")
    table, fields = _parsed(path, text), {}
    for key, value in table.items():
        if key not in _READERS:
            raise _refusal(path, text, key, f"unknown key{did_you_mean(key, list(_READERS))}")
        field, read = _READERS[key]
        try:
            fields[field] = read(value)
        except _UnfitError as error:
            raise _refusal(path, text, key, str(error)) from error
    return _completed(path, text, fields)


def _parsed(path: str, text: str) -> dict[str, Any]:
    import tomllib  # some milliseconds, and most runs name no file

    try:
        return tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        message, line = str(error), re.search(r" \(at line (\d+), column \d+\)$", str(error))
        if line is not None:
            raise XentError(f"{path}:{line[1]}: {message[: line.start()]}") from error
        raise XentError(f"{path}: {message}") from error


def _refusal(path: str, text: str, key: str, why: str) -> XentError:
    """Make the error of a key, with the line that it stands on where one begins with it."""
    lines = (number for number, line in enumerate(text.splitlines(), 1) if _begins(line, key))
    number = next(lines, None)
    return XentError(f"{path}{'' if number is None else f':{number}'}: {key}: {why}")


def _begins(line: str, key: str) -> bool:
    return re.match(rf"\s*\[?\s*([\"']?){re.escape(key)}\1\s*[=.\]]", line) is not None


def _completed(path: str, text: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Hold keys against each other, and say what is missing."""
    if "library" not in fields:
        raise XentError(f"{path}: library: is missing; expected one of {', '.join(_LIBRARIES)}")
    fields.setdefault("labels", "indices")
    linear = "hidden" in fields.get("arguments", ())
    if linear and (fields["labels"] != "indices" or fields.get("probabilities")):
        which = "labels" if fields["labels"] != "indices" else "probabilities"
        raise _refusal(path, text, which, "a loss of hidden and weight has labels = 'indices', of logits")
    if linear and fields["library"] not in _OF_PRODUCTS:
        known = ", ".join(_OF_PRODUCTS)
        raise _refusal(path, text, "arguments", f"hidden and weight are of the libraries {known}")
    sharded = set(fields.get("arguments", ())) == _SHARD
    kinds = (fields["library"], fields["labels"], fields.get("probabilities", False))
    if sharded and kinds != ("torch", "indices", False):
        why = "shards are of library = 'torch', labels = 'indices', of logits"
        raise _refusal(path, text, "arguments", why)
    if not sharded and "ranks" in fields:
        raise _refusal(path, text, "ranks", f"only where arguments = {sorted(_SHARD)} in any order")
    fields |= {"ranks": fields.get("ranks", _RANKS[0])} if sharded else {}
    named = {name for _, name in fields.get("parameters", ())}
    if both := [name for name, _ in fields.get("constants", ()) if name in named]:
        raise _refusal(path, text, "constants", f"'{both[0]}' is among the parameters too")
    return fields


def _one_of(known: tuple[str, ...]) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise _UnfitError(f"expected one of {', '.join(known)}, not {_kind(value)}")
        if value not in known:
            raise _UnfitError(f"unknown value '{value}'{did_you_mean(value, list(known))}")
        return value

    return read


def _arguments(value: Any) -> tuple[str, ...]:
    known = " or ".join(f"{sorted(names)} in any order" for names in _ARGUMENTS)
    names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(names) != len(value) or len(set(names)) != len(names):
        raise _UnfitError(f"expected {known}")
    if set(names) not in _ARGUMENTS:
        raise _UnfitError(f"expected {known}, not {names}")
    return tuple(names)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _UnfitError(f"expected true or false, not {_kind(value)}")
    return value


def _ranks(value: Any) -> int:
    if isinstance(value, bool) or value not in _RANKS:
        raise _UnfitError(f"expected one of {', '.join(map(str, _RANKS))}, not {value!r}")
    return int(value)


def _result(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise _UnfitError(f"expected the place or the name of an item, not {_kind(value)}")
    return value


def _parameters(value: Any) -> tuple[tuple[str, str], ...]:
    for key, name in _pairs(value):
        if key not in _OURS:
            raise _UnfitError(f"unknown parameter '{key}'{did_you_mean(key, list(_OURS))}")
        if not isinstance(name, str) or not name.isidentifier():
            raise _UnfitError(f"{key}: expected the name of a parameter, not {_kind(name)}")
    names = [name for _, name in _pairs(value)]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise _UnfitError(f"'{double}' is there twice")
    return tuple(_pairs(value))


def _constants(value: Any) -> tuple[tuple[str, Any], ...]:
    for name, constant in _pairs(value):
        if not name.isidentifier():
            raise _UnfitError(f"'{name}' is no name of a parameter")
        if not isinstance(constant, bool | int | float | str):
            raise _UnfitError(f"{name}: expected true, false, a number or a string, not {_kind(constant)}")
    return tuple(_pairs(value))


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise _UnfitError(f"expected a table such as {{name = …}}, not {_kind(value)}")
    return list(value.items())


def _kind(value: Any) -> str:
    """Name a value of TOML in a sentence."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "an array"}
    return "a table" if isinstance(value, dict) else kinds.get(type(value), "a date or a time")


# By key of the table: the field of a Convention, and what reads it.
_READERS: Final[dict[str, tuple[str, Reader]]] = {
    "library": ("library", _one_of(_LIBRARIES)),
    "arguments": ("arguments", _arguments),
    "labels": ("labels", _one_of(_LABELS)),
    "probabilities": ("probabilities", _flag),
    "returns": ("reduction", lambda value: _RETURNS[_one_of(tuple(_RETURNS))(value)]),
    "result": ("result", _result),
    "ranks": ("ranks", _ranks),
    "parameters": ("parameters", _parameters),
    "constants": ("constants", _constants),
}
