"""Work for as many threads as there are processors."""

import os
import threading
from collections.abc import Callable


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[], None], end: Callable[[], None], number: int) -> None:
    """Run a function in so many threads; what one raises ends the others and is raised."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            raised.append(error)
            end()

    others = [threading.Thread(target=guarded, daemon=True) for _ in range(number - 1)]
    for thread in others:
        thread.start()
    guarded()
    for thread in others:
        thread.join()
    if raised:
        raise raised[0]
