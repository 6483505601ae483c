"""A Python process that handles requests; one that aborts, hangs or prints costs a response, not the run.

A request and its response are a line of JSON each. ``Process`` sends requests, and ``serve`` handles
them in the other process, where what is printed is discarded and standard input is empty.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, cast

Fields = dict[str, Any]
_LONGEST = 300  # characters of an exception that are shown: four lines of a terminal
_TO_END = 1.0  # seconds that a process has to end in, once its output is closed or it was killed


class Process:
    """A Python process that handles requests; started by the first and again after it ended.

    ``arguments`` are those of the interpreter: ``-m`` and a module, or a file, and its own.
    """

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, *arguments]
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not failed to respond."""
        return self._process is not None

    def request(self, fields: Fields, seconds: float) -> Fields:
        """Return the response; where the process ``ended``, ``raised`` says how."""
        process = self._process or self._start()
        try:
            requests = cast("IO[str]", process.stdin)
            requests.write(json.dumps(fields) + "\n")
            requests.flush()
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            return {"raised": f"no answer within {seconds:g} s", "ended": True}
        except OSError:
            line = ""
        if not line:
            return {"raised": self._end(process), "ended": True}
        response: Fields = json.loads(line)
        return response

    def stop(self) -> None:
        """End the process, if there is one, and what it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()
        self._reader.join(timeout=_TO_END)
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
        self._lines = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of xent's own
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # so that what it starts can be ended with it
        )
        self._reader = threading.Thread(target=_read, args=(self._process, self._lines), daemon=True)
        self._reader.start()
        return self._process


def serve(handle: Callable[[Fields], Fields]) -> None:
    """Respond to each line with what ``handle`` returns, until the input ends."""
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    for line in requests:
        responses.write(json.dumps(handle(json.loads(line))) + "\n")
        responses.flush()


def describe(error: BaseException) -> str:
    """Return an exception in one line: its type and its message."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an exception of others may do anything
        message = "its message cannot be read"
    return f"{type(error).__name__}: {message}"[:_LONGEST].removesuffix(": ")


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    """Pass lines on; an empty one at the end."""
    try:
        for line in cast("IO[str]", process.stdout):
            lines.put(line)
    except ValueError:  # closed while it was read
        pass
    lines.put("")
