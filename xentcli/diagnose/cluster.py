"""A dump gone through by a cluster of dask.distributed: workers sum rows up, and this process merges them."""

import logging
import math
import pickle
import platform
import queue
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from multiprocessing import active_children
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import __version__
from xentcli.bulk.backend import in_use
from xentcli.diagnose.dumps import Source, open_shard
from xentcli.diagnose.files.storage import File, is_address
from xentcli.diagnose.files.stored import ReadError
from xentcli.diagnose.summary import Asked
from xentcli.errors import XentError, printable
from xentcli.threads import processors

if TYPE_CHECKING:
    from xentcli.diagnose.survey import Engine, Part, Run

    Opened = tuple[Source, tuple[File, ...], int]
    _Task = list[list[Part]]  # the parts of each shard

_TASK_BYTES: Final = 2**27  # of logits: a second's work, beside which a task costs a few milliseconds
_SHARD_BYTES: Final = 2**21  # to open one and to sum it up takes as long as to read so many
_IN_HAND: Final = 3  # tasks for each thread of the cluster: it never waits for the next
_PATIENCE: Final = 10.0  # seconds: for a cluster to answer, and until one that does not is given up
_MOST_WORKERS: Final = 10_000
_WAIT: Final = 0.5  # seconds between looks at whether the cluster is there, and how large it is
_MOMENT: Final = 0.005  # seconds between looks at whether processes have begun


class _LostError(ReadError):
    """The cluster's scheduler does not answer any longer."""

    def __init__(self) -> None:
        super().__init__("the connection to the cluster's scheduler was lost")


@contextmanager
def connected(where: str) -> "Iterator[Any]":
    """Connect to a cluster: ``local``, or ``local:4`` of four processes, an address, or a scheduler file.

    Waits until it has a worker. Raises XentError where dask.distributed is not installed, or no cluster
    answers.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise XentError("--dask needs dask.distributed: pip install 'xent[dask]'") from error
    for logger in list(logging.root.manager.loggerDict):
        if logger.startswith(("distributed", "tornado")):  # what matters is said in a message of ours
            logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    name, _, number = where.partition(":")
    if name == "local":
        if number and not (number.isdecimal() and 0 < int(number) < _MOST_WORKERS):
            raise XentError(f"--dask {printable(where)}: give local, or local:4 for four workers")
        with _local(distributed, int(number or processors())) as client:
            yield client
        return
    if not is_address(where) and not Path(where).is_file():
        expected = "local, local:4, tcp://host:port or a scheduler file"
        raise XentError(f"--dask {printable(where)}: there is no such file; give {expected}")
    options = {"address": where} if is_address(where) else {"scheduler_file": where}
    try:
        client = distributed.Client(timeout=_PATIENCE, **options)
    except Exception as error:  # a file or an address may be wrong in any way
        why = printable(" ".join(str(error).split())[:120] or "that is no file of one")
        raise XentError(f"--dask {printable(where)}: no scheduler answers: {why}") from error
    with client:
        _await_worker(client)
        yield client


@contextmanager
def _local(distributed: Any, number: int) -> "Iterator[Any]":  # noqa: ANN401 - the module
    """Start processes of this machine, and connect to them."""
    if (folder := str(Path(__file__).parents[2])) not in sys.path:
        sys.path.append(folder)  # the workers import xent from where this process did
    quiet = {
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # another port than of any other cluster
        "silence_logs": logging.CRITICAL,
    }
    with (
        distributed.LocalCluster(n_workers=0, threads_per_worker=1, **quiet) as cluster,
        distributed.Client(cluster) as client,
    ):
        # A terminal's Ctrl-C comes to all of its processes: workers ignore it, and this one ends them.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            cluster.scale(number)
            until = time.monotonic() + _PATIENCE
            while len(active_children()) < number and time.monotonic() < until:
                time.sleep(_MOMENT)
        finally:
            signal.signal(signal.SIGINT, before)
        client.wait_for_workers(number)
        yield client


def _await_worker(client: Any) -> None:  # noqa: ANN401 - of a library without types
    """Wait until there is one; raises XentError where the scheduler does not answer any longer."""
    try:
        while not client.nthreads():
            time.sleep(_WAIT)
    except Exception as error:  # of any kind, as what a lost connection raises
        raise XentError(f"{_LostError()}, before there was a worker") from error


def programs() -> dict[str, str]:
    """Return what the last bits of numbers follow from: versions, the backend, and the processor's kind."""
    core = "numpy._core" if hasattr(np, "_core") else "numpy.core"  # NumPy 1
    features = import_module(f"{core}._multiarray_umath").__cpu_features__
    return {
        "xent": __version__,
        "NumPy": np.__version__,
        "backend": in_use(),
        "processor": " ".join(
            [platform.machine(), *sorted(name for name, there in features.items() if there)]
        ),
        "C library": " ".join(platform.libc_ver()),
    }


def by_cluster(
    client: Any,  # noqa: ANN401 - of a library without types
    *,
    allow_mixed: bool = False,
    notes: list[str] | None = None,
) -> "Engine":
    """Return what has the workers of a cluster sum parts up.

    A worker that differs from this process in ``programs`` is refused, or, where they may be mixed, noted.
    Raises XentError for what is no client.
    """
    if not callable(getattr(client, "submit", None)):
        raise XentError(f"client is {type(client).__name__}; expected a distributed.Client")
    own = programs()

    def go_through(parts: "Sequence[Part]", run: "Run") -> None:
        _check_workers(client)
        waiting, running = _tasks(parts, run), _Running(client, run.question)
        try:
            while running.fill(waiting):
                task, future = running.next()
                try:
                    found, theirs = _result(client, future, task[0][0].shard.path)
                except _LostError:
                    raise
                except ReadError as error:
                    _fail(task, error, run, running)
                else:
                    _check_programs(own, theirs, allow_mixed=allow_mixed, notes=notes)
                    _take(task, found, run)
        finally:
            running.cancel()

    return go_through


class _Running:
    """The tasks that a cluster has in hand: enough that no worker waits for the next."""

    def __init__(self, client: Any, question: Asked) -> None:  # noqa: ANN401 - of a library without types
        self._client, self._tasks = client, dict[str, "tuple[Any, _Task]"]()
        self._done: queue.Queue[Any] = queue.Queue()
        self._question = import_module("cloudpickle").dumps(question)  # once, for its rules are functions
        self._most, self._looked = 0, -math.inf

    def fill(self, waiting: "Iterator[_Task]") -> bool:
        """Hand over the next tasks, more where workers have come; return False where none is left."""
        if time.monotonic() - self._looked >= _WAIT:
            with suppress(Exception):  # the cluster may be gone
                self._most = _IN_HAND * max(1, sum(self._client.nthreads().values()))
            self._looked = time.monotonic()
        for _, task in zip(range(self._most - len(self._tasks)), waiting, strict=False):
            self.submit(task)
        return bool(self._tasks)

    def submit(self, task: "_Task") -> None:
        """Hand over a task."""
        asked = [(some[0].shard.opened_by, [part.rows for part in some]) for some in task]
        future = self._client.submit(_summarise, asked, self._question, pure=False)
        self._tasks[future.key] = future, task
        future.add_done_callback(self._done.put)

    def next(self) -> "tuple[_Task, Any]":
        """Wait for a task, and return it and its future; raises ReadError where the cluster is gone."""
        gone = 0.0
        while gone < _PATIENCE:
            with suppress(queue.Empty):
                future, task = self._tasks.pop(self._done.get(timeout=_WAIT).key)
                return task, future
            gone = 0.0 if self._client.status == "running" else gone + _WAIT
        raise _LostError

    def cancel(self) -> None:
        """Cancel what is in hand."""
        with suppress(Exception):  # the cluster may be gone
            self._client.cancel([future for future, _ in self._tasks.values()])


def _fail(task: "_Task", error: ReadError, run: "Run", running: _Running) -> None:
    """Leave out the shard that workers failed over; of several, find out which it was."""
    if len(task) == 1:
        run.fail(task[0][0], error)
    else:
        for some in task:
            running.submit([some])


def _take(task: "_Task", found: Sequence[Any], run: "Run") -> None:
    """Have the pass take the summaries of a task's shards, and hear of those that could not be read."""
    for some, summary in zip(task, found, strict=True):
        if isinstance(summary, str):
            run.fail(some[0], ReadError(summary))
        else:
            run.take(some[0], summary, len(some))


def _check_workers(client: Any) -> None:  # noqa: ANN401 - of a library without types
    """Raise XentError where a worker has no xent: it would die of its first task."""
    found = client.run(lambda: bool(import_module("xentcli.diagnose.cluster")), on_error="return")
    for worker, error in found.items():
        if isinstance(error, Exception):
            why = printable(str(error)[:80])
            raise XentError(
                f"the worker {printable(worker)} has no xent of this version: {why}; install it there"
            )


def _tasks(parts: "Sequence[Part]", run: "Run") -> "Iterator[_Task]":
    """Yield consecutive parts, by shards, so many that a worker has work for a while."""
    task: _Task = []
    size = 0
    for part in filter(run.is_wanted, parts):
        rows = min(part.rows.stop, len(part.shard.logits)) - part.rows.start
        size += rows * part.shard.logits.shape[1] * part.shard.logits.dtype.itemsize + _SHARD_BYTES
        if task and size > _TASK_BYTES:
            yield task
            task, size = [], 0
        if task and task[-1][0].number == part.number:
            task[-1].append(part)
        else:
            task.append([part])
    if task:
        yield task


def _result(client: Any, future: Any, path: str) -> tuple[Any, dict[str, str]]:  # noqa: ANN401 - as above
    """Return what a task gave; raises what it raised, ReadError where workers died of it.

    Where a worker dies with what it has found, that is found anew, which may take its time.
    """
    while True:
        try:
            found: tuple[Any, dict[str, str]] = future.result(timeout=_PATIENCE)
        except CancelledError as error:
            raise _LostError from error
        except Exception as error:
            if isinstance(error, TimeoutError) and future.status != "error":
                if client.status != "running":
                    raise _LostError from error
                continue
            why = printable(" ".join(f"{type(error).__name__} {error}".split())[:160])
            raise ReadError(f"{printable(path)}: workers failed over it: {why}") from error
        return found


def _check_programs(
    own: dict[str, str], theirs: dict[str, str], *, allow_mixed: bool, notes: list[str] | None
) -> None:
    """Refuse or note a worker whose numbers may differ in their last bits."""
    for name, value in own.items():
        if theirs.get(name) != value:
            other = printable(str(theirs.get(name)))
            said = f"workers have another {name} ({other}) than here ({value}): last digits may differ"
            if not allow_mixed:
                raise XentError(f"{said}; --allow-mixed goes on")
            if notes is not None and said not in notes:
                notes.append(said)


def _summarise(
    asked: "Sequence[tuple[Opened, Sequence[slice]]]", question: bytes
) -> tuple[list[Any], dict[str, str]]:
    """Sum up rows of shards on a worker, each by itself; of one that cannot be read, return the message."""
    found = list[Any]()
    for opened_by, parts in asked:
        try:
            found.append(_summary(opened_by, parts, _question(question)))
        except XentError as error:
            found.append(f"{error}, on the worker {_worker()}")
    return found, programs()


def _worker() -> str:
    return str(import_module("distributed").get_worker().address)


@lru_cache(maxsize=1)
def _question(pickled: bytes) -> Asked:
    question: Asked = pickle.loads(pickled)  # noqa: S301 - this program sent it, as it did the function above
    return question


def _summary(opened_by: "Opened", parts: Sequence[slice], question: Asked) -> Any:  # noqa: ANN401 - of the question's kind
    """Sum up rows of a shard; raises ReadError where it has changed since it was opened."""
    source, files, first = opened_by
    shard = replace(open_shard(source, files), first=first)
    total = question.nothing()
    for rows in parts:
        total = total.merge(question.summarise(shard, rows))
    return total
