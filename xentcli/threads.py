"""Work for as many threads as there are processors."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

Task = TypeVar("Task")


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def for_each(tasks: Iterable[Task], work: Callable[[Task], object], threads: int | None = None) -> None:
    """Call ``work`` with each task, in threads: as many as processors unless given.

    The first exception lets no further task begin, and is raised when those begun have ended.
    """
    remaining, raised = deque(tasks), list[BaseException]()
    lock = threading.Lock()

    def next_task() -> list[Task]:
        with lock:
            return [remaining.popleft()] if remaining else []

    def stop() -> None:
        with lock:
            remaining.clear()

    def loop() -> None:
        try:
            while task := next_task():
                work(*task)
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            raised.append(error)
            stop()

    number = min(threads or processors(), len(remaining))
    others = [threading.Thread(target=loop, daemon=True) for _ in range(number - 1)]
    for thread in others:
        thread.start()
    try:
        loop()
        for thread in others:
            thread.join()
    finally:
        stop()  # interrupted while it waits, the others end too
    if raised:
        raise raised[0]
