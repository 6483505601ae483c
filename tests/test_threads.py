"""Tasks in threads: each is done once, and none begins after an exception."""

import threading
import time

import pytest

from xentcli.threads import for_each


def test_after_the_first_exception_no_task_begins_and_it_is_raised() -> None:
    begun: list[int] = []
    both, raised = threading.Barrier(2, timeout=10), threading.Event()

    def work(task: int) -> None:
        begun.append(task)
        both.wait()
        if task == 0:
            raised.set()
            raise KeyboardInterrupt
        raised.wait()
        time.sleep(0.2)  # by then no task is left

    with pytest.raises(KeyboardInterrupt):
        for_each(range(20), work, 2)
    assert sorted(begun) == [0, 1]


def test_each_task_is_done_once_by_as_many_threads_as_asked_for() -> None:
    done: list[tuple[int, int]] = []
    together = threading.Barrier(3, timeout=10)

    def work(task: int) -> None:
        if task < 3:
            together.wait()
        done.append((task, threading.get_ident()))

    for_each(range(20), work, 3)

    assert sorted(task for task, _ in done) == list(range(20))
    assert len({thread for _, thread in done}) == 3
