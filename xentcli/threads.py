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
    remaining, raised, lock = deque(tasks), list[BaseException](), threading.Lock()

    def loop() -> None:
        while True:
            with lock:
                if raised or not remaining:
                    return
                task = remaining.popleft()
            try:
                work(task)
            except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
                raised.append(error)

    number = min(threads or processors(), len(remaining))
    others = [threading.Thread(target=loop, daemon=True) for _ in range(number - 1)]
    for thread in others:
        thread.start()
    try:
        loop()
        for thread in others:
            thread.join()
    finally:
        with lock:
            remaining.clear()  # interrupted while it waits, the others end too
    if raised:
        raise raised[0]
