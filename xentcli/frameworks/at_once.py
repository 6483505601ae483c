"""A function called by several threads at once, again and again."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Barrier, BrokenBarrierError
from typing import Any, Final

_ROUNDS: Final = 16  # in which all threads begin together
_SWITCH: Final = 1e-5  # seconds that a thread runs at most: a fault needs another one within its call


def at_once(
    call: Callable[[Any], Any],
    parts: Sequence[Any],
    session: Callable[[], AbstractContextManager[Any]],
    differs: Callable[[Any, Any], bool],
) -> list[Any]:
    """Return what a function returns for each part, which a thread each calls it with.

    That is what it returns alone, unless in some round it ``differs`` from that. Raises what it raises.
    """
    alone = [call(part) for part in parts]
    barrier = Barrier(len(parts))

    def work(part: Any, expected: Any) -> Any:
        try:
            with session():
                for _ in range(_ROUNDS):
                    barrier.wait()
                    if differs(expected, returned := call(part)):
                        return returned
        except BrokenBarrierError:
            pass
        finally:
            barrier.abort()  # nobody waits for one that has ended
        return expected

    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        with ThreadPoolExecutor(len(parts)) as pool:
            return list(pool.map(work, parts, alone))
    finally:
        sys.setswitchinterval(interval)
