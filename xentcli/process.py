"""A process that handles requests; one that aborts, hangs or prints costs a response, not the run.

A request and its response are a line each. ``LineProcess`` sends lines to any program; ``Process`` sends JSON
to a Python process. There this file is the program, which hands requests to a module; what is printed there
is discarded, and standard input is empty.
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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from xentcli.errors import printable
from xentcli.streams import open_standard_streams

Fields = dict[str, Any]
_LONGEST: Final = 300  # characters of an exception that are shown: four lines of a terminal
LONGEST_LINE: Final = 64 * 2**20  # characters of a response: 2**20 numbers of 20 take a third of it
_LONGEST_LAST: Final = 4096  # bytes of standard error that the last line is looked for in
_TO_END: Final = 1.0  # seconds that a process has to end in, once its output is closed or it was killed
_LOOK: Final = 500  # milliseconds between two looks of the guard whether the process it guards is alive
_PROGRAM: Final = "--program"  # in the place of a module: become the program that follows
_NOT_STARTED: Final = 126  # the exit code of a shell for what cannot be executed


class Unanswered(Exception):  # noqa: N818 - the name says what happened
    """No line came from a process; the message says why. ``late``: it had no time for one."""

    def __init__(self, why: str, *, late: bool = False) -> None:
        super().__init__(why)
        self.response: Fields = {"raised": why, "ended": True, "late": late}


class LineProcess:
    """A process that is sent lines and answers each with one; started by the first and again after it ended.

    ``command`` is started with our environment, but for ``changes``. ``keeps_errors``: the last line that it
    writes to standard error is said when it ends.
    """

    def __init__(
        self, command: Sequence[str], changes: Mapping[str, str] | None = None, *, keeps_errors: bool = False
    ) -> None:
        self._command, self._changes, self._keeps_errors = list(command), changes or {}, keeps_errors
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._errors = bytearray()  # the end of what was written to standard error

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not failed to respond."""
        return self._process is not None

    @property
    def has_more(self) -> bool:
        """Whether a line has come that was not received."""
        return not self._lines.empty()

    def send_line(self, line: str) -> None:
        """Send a line. One that the process does not read, for it has ended or sleeps, holds nobody up."""
        if self._process is None:
            self._start()
        self._requests.put(f"{line}\n".encode())

    def receive_line(self, seconds: float) -> str:
        """Return the next line; raises Unanswered where none comes, after the process was ended."""
        process = cast("subprocess.Popen[str]", self._process)
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise Unanswered(f"no answer within {seconds:.3g} s", late=True) from None
        if not line:
            raise Unanswered(self._end(process))
        return line

    def stop(self) -> None:
        """End the process, if there is one, and what it has started."""
        process, self._process = self._process, None
        if process is None:
            return
        self._requests.put(b"")
        with suppress(ProcessLookupError, PermissionError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()
        deadline = time.monotonic() + _TO_END
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            with suppress(queue.Empty):  # the reader waits for room where nobody reads
                self._lines.get(timeout=_TO_END / 50)
        if not any(thread.is_alive() for thread in self._threads):
            # Else a process of its own session holds a pipe, and would hold us.
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                with suppress(OSError):
                    pipe.close()

    def _end(self, process: "subprocess.Popen[str]") -> str:
        """Say how a process ended that no longer responds, and the last that it said."""
        try:
            code = process.wait(timeout=_TO_END)
        except subprocess.TimeoutExpired:
            self.stop()
            return "the process closed its output"
        self.stop()
        how = f"the process ended with signal {-code}" if code < 0 else f"the process ended with code {code}"
        said = self._errors.decode(errors="replace").strip().rpartition("\n")[2]
        return printable(f"{how}: {said}"[:_LONGEST]) if said else how

    def _start(self) -> None:
        lines: queue.Queue[str] = queue.Queue(maxsize=2)  # who writes more waits until it is ended
        requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        errors = bytearray()
        process = subprocess.Popen(  # noqa: S603 - xent's own module, or what the user names; no shell
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if self._keeps_errors else None,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **self._changes},
            start_new_session=True,  # so that what it starts can be ended with it
        )
        self._process, self._lines, self._requests, self._errors = process, lines, requests, errors
        calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (_read, (process.stdout, lines)),
            (_write, (cast("IO[str]", process.stdin).fileno(), requests)),
        ]
        calls += [(_keep_end, (process.stderr.fileno(), errors))] if process.stderr else []
        self._threads = [threading.Thread(target=call, args=given, daemon=True) for call, given in calls]
        for thread in self._threads:
            thread.start()


class Process(LineProcess):
    """A Python process that handles requests; started by the first and again after it ended.

    ``module`` has the function ``handle``, and finds ``arguments`` from ``sys.argv[2]`` on. Nothing of the
    current folder is imported: of PYTHONPATH only what lies elsewhere is kept.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-P", "-m", __name__, module, *arguments]
        super().__init__(command, {"PYTHONPATH": _python_path()})
        self._mark = ""  # of the request that is to be answered, which nobody else can know

    def request(self, fields: Fields, seconds: float) -> Fields:
        """Return the response; where the process ``ended``, ``raised`` says how."""
        self.send(fields)
        return self.receive(seconds)

    def send(self, fields: Fields) -> None:
        """Send a request, whose response is received later: meanwhile other processes may be sent theirs."""
        self._mark = os.urandom(16).hex()
        self.send_line(json.dumps({"mark": self._mark, "fields": fields}))

    def receive(self, seconds: float) -> Fields:
        """Return the response to what was sent, as ``request`` does."""
        try:
            line = self.receive_line(seconds)
        except Unanswered as why:
            return why.response
        response = _response(line, self._mark)
        if response is None or self.has_more:
            self.stop()
            return {"raised": "it wrote into the pipe of its responses", "ended": True}
        return response


def program(words: Sequence[str]) -> LineProcess:
    """Return the process of a program of the user's: its name or path, and its arguments.

    A guard ends it where xent is killed. It has the user's own environment, and standard error is kept.
    """
    if not hasattr(os, "fork"):
        return LineProcess(words, keeps_errors=True)
    guarded = [sys.executable, "-P", "-m", __name__, _PROGRAM, os.environ.get("PYTHONPATH", ""), *words]
    return LineProcess(guarded, {"PYTHONPATH": _python_path()}, keeps_errors=True)


def _python_path() -> str:
    """Return PYTHONPATH without the entries that are the current folder, or relative."""
    kept = []
    for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        is_here = not Path(entry).is_absolute() or os.path.realpath(entry) == os.path.realpath(os.curdir)
        kept += [] if is_here else [entry]
    return os.pathsep.join(kept)


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


def _read(stream: IO[str], lines: "queue.Queue[str]") -> None:
    """Pass lines on; an empty one at the end."""
    with suppress(ValueError):  # closed while it was read
        while line := stream.readline(LONGEST_LINE):
            lines.put(line)
    lines.put("")


def _write(descriptor: int, requests: "queue.SimpleQueue[bytes]") -> None:
    """Write requests until one is empty, or nobody can read them."""
    with suppress(OSError):
        while rest := memoryview(requests.get()):
            while rest:
                rest = rest[os.write(descriptor, rest) :]


def _keep_end(descriptor: int, errors: bytearray) -> None:
    """Keep the end of what is written to standard error."""
    with suppress(OSError):
        while chunk := os.read(descriptor, _LONGEST_LAST):
            errors += chunk
            del errors[:-_LONGEST_LAST]


def _become(words: list[str], python_path: str) -> None:
    """Become a program of the user's, with the signals and the PYTHONPATH that it would have in a shell."""
    for name in ("SIGPIPE", "SIGXFSZ"):  # which Python ignores
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.environ["PYTHONPATH"] = python_path
    if not python_path:
        del os.environ["PYTHONPATH"]
    try:
        os.execvp(words[0], words)  # noqa: S606 - what the user named; no shell is what is wanted
    except OSError as error:
        os.write(2, f"{words[0]}: {error.strerror}\n".encode())
        os._exit(_NOT_STARTED)


if __name__ == "__main__":
    open_standard_streams()
    _guard()
    if sys.argv[1] == _PROGRAM:
        _become(sys.argv[3:], sys.argv[2])
    serve(importlib.import_module(sys.argv[1]).handle)
