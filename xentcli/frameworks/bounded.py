"""Frameworks in processes of their own: one that aborts or hangs costs an answer, and not the run."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from xentcli.model import Case, Outcome

if TYPE_CHECKING:
    from xentcli.frameworks import FrameworkMethod

SECONDS = 120.0  # for an answer; the first has to import the library
_IGNORED = -100


def run(
    cases: Sequence[Case], methods: "Sequence[FrameworkMethod]", seconds: float = SECONDS
) -> list[tuple[Outcome, ...]]:
    """Run the methods on every case, library by library; the outcomes of each case in the order given.

    Softmax functions are left out of binary cases, and binary ones out of the others.
    """
    found: dict[tuple[int, str], Outcome] = {}
    for library in dict.fromkeys(method.library for method in methods):
        worker = _Worker(seconds)
        try:
            for method in (method for method in methods if method.library == library):
                for number, case in enumerate(cases):
                    if method.binary == case.batch.binary:
                        found[number, method.name] = _outcome(worker, case, method)
        finally:
            worker.stop()
    numbers = range(len(cases))
    return [tuple(found[n, m.name] for m in methods if (n, m.name) in found) for n in numbers]


class _Worker:
    """A process that answers questions; started at the first and again after it died."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, or what became of the process."""
        process = self._process or self._start()
        try:
            questions = cast("IO[str]", process.stdin)
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            line = self._lines.get(timeout=self._seconds)
        except queue.Empty:
            self.stop()
            return {"raised": f"no answer within {self._seconds:g} s"}
        except OSError:
            line = ""
        if not line:
            code = process.wait()
            self.stop()
            how = f"signal {-code}" if code < 0 else f"code {code}"
            return {"raised": f"the process ended with {how}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> "subprocess.Popen[str]":
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "xentcli.frameworks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()
        return self._process


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    """Pass lines on; an empty one at the end."""
    try:
        for line in cast("IO[str]", process.stdout):
            lines.put(line)
    except ValueError:  # closed while it was read
        pass
    lines.put("")


def _outcome(worker: _Worker, case: Case, method: "FrameworkMethod") -> Outcome:
    version = method.version
    if (unfit := method.unfit(case.batch)) is not None:
        return Outcome(method.name, case.dtype, (), None, None, (), unfit, version=version)
    answer = worker.ask(_question(case, method.name))
    if "raised" in answer:
        said = f"raised {answer['raised']}"
        return Outcome(method.name, case.dtype, (), None, None, (), version=version, raised=said)
    gradient = None
    if answer["gradient"] is not None:
        gradient = np.array(answer["gradient"], np.float64).reshape(case.batch.logits.shape)
    losses, loss = tuple(answer["losses"]), answer["loss"]
    return Outcome(method.name, answer["dtype"], losses, loss, gradient, (), version=version)


def _question(case: Case, method: str) -> dict[str, Any]:
    batch, weighting = case.batch, case.batch.weighting
    indices = batch.indices
    if indices is not None and weighting is not None and weighting.ignored is not None:
        indices = np.where(weighting.ignored[:, 0], _IGNORED, indices)
    weights = None if weighting is None or weighting.weights is None else weighting.weights[0]

    def plain(array: Any) -> Any:  # noqa: ANN401 - an array as lists
        if array is None or array.dtype.kind in "iu":
            return None if array is None else array.tolist()
        return array.astype(np.float64)[:, 0].tolist() if batch.binary else array.astype(np.float64).tolist()

    return {
        "method": method,
        "dtype": case.dtype,
        "reduction": case.reduction,
        "logits": plain(batch.logits),
        "labels": plain(batch.labels),
        "indices": plain(indices),
        "probabilities": plain(batch.probabilities),
        "weights": None if weights is None else weights.astype(np.float64).tolist(),
        "smoothing": 0.0 if weighting is None else weighting.smoothing,
    }
