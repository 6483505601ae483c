"""A Python process that handles requests; one that aborts, hangs or prints costs a response, not the run.

A request and its response are a line of JSON each. ``Process`` sends requests; in the other process this file
is the program, which hands them to a module. What is printed there is discarded, and standard input is empty.
"""

import importlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from xentcli.errors import printable
from xentcli.streams import open_standard_streams

Fields = dict[str, Any]
_LONGEST: Final = 300  # characters of an exception that are shown: four lines of a terminal
_LONGEST_LINE: Final = 64 * 2**20  # characters of a response: 2**20 numbers of 20 take a third of it
_TO_END: Final = 1.0  # seconds that a process has to end in, once its output is closed or it was killed
_LOOK: Final = 500  # milliseconds between two looks of the guard whether the process it guards is alive


class Process:
    """A Python process that handles requests; started by the first and again after it ended.

    ``module`` has the function ``handle``, and finds ``arguments`` from ``sys.argv[2]`` on. Nothing of the
    current folder is imported: of PYTHONPATH only what lies elsewhere is kept.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-P", "-m", __name__, module, *arguments]
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._mark = ""  # of the request that is to be answered, which nobody else can know

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not failed to respond."""
        return self._process is not None

    def request(self, fields: Fields, seconds: float) -> Fields:
        """Return the response; where the process ``ended``, ``raised`` says how."""
        self.send(fields)
        return self.receive(seconds)

    def send(self, fields: Fields) -> None:
        """Send a request, whose response is received later: meanwhile other processes may be sent theirs."""
        process = self._process or self._start()
        self._mark = os.urandom(16).hex()
        with suppress(OSError):  # the process has ended, as its response will say
            requests = cast("IO[str]", process.stdin)
            requests.write(json.dumps({"mark": self._mark, "fields": fields}) + "\n")
            requests.flush()

    def receive(self, seconds: float) -> Fields:
        """Return the response to what was sent, as ``request`` does."""
        process = cast("subprocess.Popen[str]", self._process)
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            return {"raised": f"no answer within {seconds:g} s", "ended": True}
        if not line:
            return {"raised": self._end(process), "ended": True}
        response = _response(line, self._mark)
        if response is None or not self._lines.empty():
            self.stop()
            return {"raised": "it wrote into the pipe of its responses", "ended": True}
        return response

    def stop(self) -> None:
        """End the process, if there is one, and what it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()
        deadline = time.monotonic() + _TO_END
        while self._reader.is_alive() and time.monotonic() < deadline:
            with suppress(queue.Empty):  # the reader waits for room where nobody reads
                self._lines.get(timeout=_TO_END / 50)
        if not self._reader.is_alive():  # else a process of its own session holds the pipe, and would hold us
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was still to be written has no reader
                    cast("IO[str]", pipe).close()

    def _end(self, process: "subprocess.Popen[str]") -> str:
        """Say how a process ended that no longer responds."""
        try:
            code = process.wait(timeout=_TO_END)
        except subprocess.TimeoutExpired:
            self.stop()
            return "the process closed its output"
        self.stop()
        return f"the process ended with signal {-code}" if code < 0 else f"the process ended with code {code}"

    def _start(self) -> "subprocess.Popen[str]":
        self._lines = queue.Queue(maxsize=2)  # who writes more waits until it is ended
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of xent's own
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            start_new_session=True,  # so that what it starts can be ended with it
        )
        self._reader = threading.Thread(target=_read, args=(self._process, self._lines), daemon=True)
        self._reader.start()
        return self._process


def _environment() -> dict[str, str]:
    """Return the environment without the entries of PYTHONPATH that are the current folder, or relative."""
    kept = []
    for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        is_here = not Path(entry).is_absolute() or os.path.realpath(entry) == os.path.realpath(os.curdir)
        kept += [] if is_here else [entry]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(kept)}


def _response(line: str, mark: str) -> Fields | None:
    """Read the response to the request of that mark; None where the line is something else."""
    try:
        response = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(response, dict) or response.get("mark") != mark:
        return None
    fields = response.get("fields")
    return fields if isinstance(fields, dict) else None


def serve(handle: Callable[[Fields], Fields]) -> None:
    """Respond to each line with what ``handle`` returns, until the input ends."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    for line in requests:
        request = json.loads(line)
        response = {"mark": request["mark"], "fields": handle(request["fields"])}
        responses.write(json.dumps(response) + "\n")
        responses.flush()


def _guard() -> None:
    """Fork a guard, which ends this process and what it starts once the one that started it is gone.

    It holds neither the interpreter's lock nor memory of what is imported later, so that nothing that a loss
    does delays it.
    """
    guarded = os.getpid()
    if not hasattr(os, "fork") or os.fork():
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    requests = select.poll()
    requests.register(0, 0)  # no event but that the other end is closed
    while os.getppid() == guarded and not requests.poll(_LOOK):
        pass
    os.killpg(0, signal.SIGKILL)


def describe(error: BaseException) -> str:
    """Return an exception in one line: its type and its message."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an exception of others may do anything
        message = "its message cannot be read"
    return printable(f"{type(error).__name__}: {message}"[:_LONGEST].removesuffix(": "))


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    """Pass lines on; an empty one at the end."""
    stream = cast("IO[str]", process.stdout)
    with suppress(ValueError):  # closed while it was read
        while line := stream.readline(_LONGEST_LINE):
            lines.put(line)
    lines.put("")


if __name__ == "__main__":
    open_standard_streams()
    _guard()
    serve(importlib.import_module(sys.argv[1]).handle)
