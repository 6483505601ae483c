"""A loss that is a program of any language: a line of JSON with a batch, and a line with its losses.

docs/loss-protocol.md has the protocol, ``xent.loss/1``.
"""

import json
import re
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError, printable
from xentcli.formats import FORMATS, rounded
from xentcli.frameworks.call import upstream_of
from xentcli.frameworks.conventions import CONVENTIONS, NAMES
from xentcli.frameworks.request import in_full
from xentcli.process import LONGEST_LINE, Fields, LineProcess, Unanswered, program
from xentcli.words import IGNORE_INDEX

if TYPE_CHECKING:
    from xentcli.formats import FloatArray

SCHEMA: Final = "xent.loss/1"
LABELS: Final = {"indices": "numpy", "rows": "numpy.rows", "binary": "numpy.binary"}  # → the convention
TAKES: Final = (*NAMES, "reduction")  # what a program may support besides logits and labels
_TO_START: Final = 30.0  # seconds; Julia compiles for ten
_TO_RESPOND: Final = 10.0  # seconds for a batch, as a Python loss has
_LEAST: Final = 1.0  # seconds for a request, however near the deadline
_MOST_NUMBERS: Final = 2**20  # of a batch: 20 MB as JSON
_SHOWN: Final = 60  # characters of a line that is none of the protocol: they stay on a line
_FLOAT: Final = re.compile(  # as %a of C and float.hex of Python write it; Windows writes nan(ind)
    r"[+-]?(0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[+-]?[0-9]+)?|inf(inity)?|nan)(?:\(\w*\))?", re.IGNORECASE
)


class _Broken(Exception):  # noqa: N818 - it never leaves this file
    """A line is none of the protocol: the program cannot be asked more."""


class _Unusable(Exception):  # noqa: N818 - as above
    """An answer holds no losses that can be judged."""


class Program:
    """A program that was started and greeted; it is started again after it ended or broke the protocol.

    ``command`` is split as a shell splits it, and no shell sees it. ``deadline`` is the time of
    ``time.monotonic`` to respond by. ``versions`` is the name that it gives itself, with a version, and its
    dtypes. Raises XentError where it cannot be started, or where its greeting is none.
    """

    def __init__(self, command: str, deadline: float) -> None:
        self._command, self._deadline, self._number = command, deadline, 0
        self._process: LineProcess = program(_words(command))
        try:
            greeting = self._greet()
        except (Unanswered, _Broken) as why:
            self.stop()
            raise XentError(f"{printable(command)}: at the greeting {why} ({SCHEMA})") from None
        except BaseException:
            self.stop()
            raise
        self.dtypes, self.parameters = greeting["dtypes"], greeting["takes"]
        self.has_gradient: bool = greeting["gradient"]
        self.has_autodiff = self.has_gradient  # it takes what comes back, as autodiff gives it
        self.convention = CONVENTIONS[LABELS[greeting["labels"]]]
        named = filter(None, (greeting["name"], greeting["version"], "in", " and ".join(self.dtypes)))
        self.versions = " ".join(named)

    def why_unsupported(self, request: Fields) -> str | None:
        """Say why the program is not called with a request; None where it is.

        It is called one batch after the other, with a dtype that it takes and with what JSON has.
        """
        dtype = request["dtype"]
        if dtype not in self.dtypes:
            return f"the program takes {' and '.join(self.dtypes)}, not {dtype}"
        is_large = request.get("rows", 0) * request.get("shape", (1,))[-1] > _MOST_NUMBERS
        if request.get("labels_dtype", dtype) not in {"int64", dtype} or request.get("layout") or is_large:
            return "a program gets its arrays as JSON"
        if request.get("backward") or request.get("when") not in {None, "", "before"}:
            return "a program is called with one batch after the other"
        return None

    def respond(self, request: Fields) -> Fields:
        """Ask for the losses of a batch, which the program supports; see ``LossFunction.respond``."""
        request = in_full(request)
        try:
            if not self._process.is_running:
                self._greet()
            for other in request.get("others", ()):
                self._ask("losses", self._fields(other), _TO_RESPOND)
            answer = self._ask("losses", self._fields(request), _TO_RESPOND)
        except Unanswered as why:
            return why.response
        except _Broken as why:
            self.stop()
            return {"raised": str(why), "ended": True}
        if "refused" in answer:
            return {"raised": f"a refusal: {_shown(answer['refused'])}", "printed": "", "wrote": []}
        try:
            return {**self._losses(request, answer), "printed": "", "wrote": []}
        except _Unusable as why:
            return {"unusable": str(why), "printed": "", "wrote": []}

    def stop(self) -> None:
        """End the program."""
        self._process.stop()

    def _greet(self) -> Fields:
        """Ask the program to describe itself; raises Unanswered, and _Broken where something lacks."""
        answer = self._ask("describe", {}, _TO_START)
        greeting: Fields = {key: str(_shown(answer.get(key, ""))) for key in ("name", "version")}
        greeting["dtypes"] = _listed(answer, "dtypes", FORMATS, least=1)
        greeting["takes"] = _listed({"takes": [], **answer}, "takes", TAKES, least=0)
        greeting["labels"], greeting["gradient"] = answer.get("labels"), answer.get("gradient", False)
        if greeting["labels"] not in list(LABELS):  # which may hold what is unhashable
            raise _Broken(f'its "labels" are {_shown(greeting["labels"])}; expected {_either(LABELS)}')
        if not isinstance(greeting["gradient"], bool):
            raise _Broken(f'its "gradient" is {_shown(greeting["gradient"])}; expected true or false')
        return greeting

    def _ask(self, what: str, fields: Fields, seconds: float) -> Fields:
        """Return the answer to a request; raises Unanswered where none comes, _Broken for another line."""
        self._number += 1
        request = {"schema": SCHEMA, "id": self._number, "ask": what, **fields}
        self._process.send_line(json.dumps(request))
        left = max(_LEAST, min(seconds, self._deadline - time.monotonic()))
        return _answer(self._process.receive_line(left), self._number)

    def _fields(self, request: Fields) -> Fields:
        keywords = {"ignore_index": IGNORE_INDEX, **request["keywords"]}
        is_index = self.convention.labels == "indices"
        fields = {
            "dtype": request["dtype"],
            "shape": list(request["shape"]),
            "logits": _hex(request["scores"]),
            "labels": request["labels"] if is_index else _hex(request["labels"]),
            "reduction": request["reduction"],
        }
        taken = [name for name in NAMES if name in self.parameters and name in keywords]
        fields |= {name: _plain(keywords[name], request["dtype"]) for name in taken}
        if self.has_gradient:
            fields["upstream"] = _hex(_upstream(request).tolist())
        return fields

    def _losses(self, request: Fields, answer: Fields) -> Fields:
        """Return the losses, the loss where one is requested, and the gradient without what came back."""
        form, examples = FORMATS[request["dtype"]], request["shape"][0]
        losses = _floats(answer, "losses")
        response: Fields = {"losses": losses, "shape": (len(losses),), "dtype": _dtype(losses, form.name)}
        if request["reduction"] != "none":
            loss = _floats({"loss": [answer["loss"]]} if "loss" in answer else answer, "loss")
            response |= {"loss": loss, "loss_shape": ()}
        if not self.has_gradient:
            return response
        try:
            slope = np.array(_floats(answer, "gradient", len(request["scores"])), np.float64)
        except _Unusable as why:
            return response | {"gradient_failed": str(why)}
        upstream = np.repeat(_upstream(request), len(slope) // max(examples, 1))
        upstream[upstream == 0] = 1.0  # where 0 comes back, 0 is what goes on
        return response | {
            "gradient": (slope / upstream).tolist(),
            "gradient_dtype": _dtype(slope.tolist(), form.name),
        }


def _upstream(request: Fields) -> "FloatArray":
    """Return what comes back to each loss (N,)."""
    return np.array(request["upstream"]) if request.get("upstream") else upstream_of(request["shape"][0])


def _words(command: str) -> list[str]:
    """Split a command; raises XentError where its first word is no program."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise XentError(f"--program {printable(command)}: {error}") from error
    if not words:
        raise XentError("--program: name a program and its arguments, such as './loss --fast'")
    if shutil.which(words[0]) is None:
        path = Path(words[0])
        why = "no such program"
        if path.exists():
            why = "is a folder" if path.is_dir() else "is not executable"
            here = "" if "/" in words[0] else f"; a program of this folder is ./{words[0]}"
            why += here if not path.is_dir() else ""
        raise XentError(f"--program {printable(words[0])}: {why}")
    return words


def _answer(line: str, number: int) -> Fields:
    """Read the answer to a request; raises _Broken for any other line."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if len(line) >= LONGEST_LINE:
        raise _Broken(f"it wrote more than {LONGEST_LINE >> 20} MiB on a line")
    if not isinstance(answer, dict):
        raise _Broken(f"it wrote a line that is no JSON object: {_shown(line.rstrip())}")
    if answer.get("schema") != SCHEMA:
        raise _Broken(f'its "schema" is {_shown(answer.get("schema"))}; expected "{SCHEMA}"')
    if answer.get("id") != number:
        raise _Broken(f'it answered with the "id" {_shown(answer.get("id"))}; expected {number}')
    if "ask" in answer:
        raise _Broken("it sent the request back")
    return answer


def _listed(answer: Fields, key: str, known: Sequence[str] | dict[str, Any], least: int) -> tuple[str, ...]:
    """Return a list of known words; raises _Broken where it is something else."""
    words = answer.get(key)
    if not isinstance(words, list) or len(words) < least or any(word not in list(known) for word in words):
        raise _Broken(f'its "{key}" are {_shown(words)}; expected a list of {_either(known)}')
    return tuple(words)


def _floats(answer: Fields, key: str, count: int | None = None) -> list[float]:
    """Return hexadecimal floats, as many as ``count`` says; raises _Unusable for anything else."""
    if key not in answer:
        raise _Unusable(f'answered without "{key}"')
    values = answer[key]
    if not isinstance(values, list):
        raise _Unusable(f'wrote "{key}" as {_shown(values)}; expected a list')
    if count not in {None, len(values)}:
        raise _Unusable(f'wrote {len(values)} numbers as "{key}"; expected {count}')
    return [_float(value, key) for value in values]


def _float(value: Any, key: str) -> float:
    if not isinstance(value, str) or not _FLOAT.fullmatch(value):
        raise _Unusable(f'wrote {_shown(value)} in "{key}"; expected a hexadecimal float such as "0x1.8p+1"')
    try:
        return float.fromhex(value.partition("(")[0])
    except OverflowError as error:
        raise _Unusable(f'wrote {_shown(value)} in "{key}", which is beyond float64') from error


def _dtype(values: "Sequence[float] | FloatArray", name: str) -> str:
    """Return the dtype that numbers have: the one named, float64 where it does not hold them all."""
    numbers = np.array(values, np.float64)
    return name if np.array_equal(rounded(numbers, FORMATS[name]), numbers, equal_nan=True) else "float64"


def _hex(values: Sequence[float]) -> list[str]:
    return [float(value).hex() for value in values]


def _plain(value: Any, dtype: str) -> Any:
    """Return an index as it is, a number as a hexadecimal float, class weights rounded to the dtype."""
    if isinstance(value, list):
        return _hex(rounded(np.array(value, np.float64), FORMATS[dtype]).tolist())
    return value if isinstance(value, int) else value.hex()


def _either(words: Sequence[str] | dict[str, Any]) -> str:
    *first, last = (f'"{word}"' for word in words)
    return f"{', '.join(first)} or {last}"


def _shown(value: Any) -> str:
    """Return the beginning of what a program wrote, inert and on a line."""
    text = "missing" if value is None else value if isinstance(value, str) else json.dumps(value)
    return printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
