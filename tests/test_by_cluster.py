"""The engine of a cluster, beside a client that does its tasks in this process."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from five_shards import ROWS, write_shards

from xentcli.diagnose import cluster, survey
from xentcli.diagnose.cluster import _summarise
from xentcli.diagnose.dumps import shards
from xentcli.diagnose.files.stored import ReadError

pytest.importorskip("cloudpickle", reason="is not installed: pip install 'xent[dask]'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shards(tmp_path)
    return tmp_path


class Future:
    """A task that is done at once."""

    def __init__(self, key: str, work: Callable[[], Any]) -> None:
        self.key, self.result = key, lambda **_: work()

    def add_done_callback(self, call: Callable[[Any], Any]) -> None:
        """Call at once."""
        call(self)


class Client:
    """What ``by_cluster`` needs of a client; ``work`` does a task, ``workers`` counts up to so many."""

    status = "running"

    def __init__(self, work: Callable[[Any, bytes], Any], workers: Iterator[int]) -> None:
        self.work, self.workers, self.tasks = work, workers, 0

    def nthreads(self) -> dict[str, int]:
        """Return how many threads there are now."""
        return {"a": next(self.workers)}

    def run(self, *_: Any, **__: Any) -> dict[str, bool]:
        """Find every worker in order."""
        return {}

    def cancel(self, _: Any) -> None:
        """Have nothing to cancel."""

    def submit(self, _: Any, asked: Any, question: bytes, **__: Any) -> Future:
        """Do a task when its result is asked for."""
        self.tasks += 1
        return Future(str(self.tasks), lambda: self.work(asked, question))


@pytest.mark.parametrize("keep_going", [True, False])
def test_of_several_shards_of_a_task_the_one_that_ends_workers_is_found(
    folder: Path, keep_going: bool
) -> None:
    found = shards([str(folder / "s*.npz")], [])

    def work(asked: Any, question: bytes) -> Any:
        if any(source.path.endswith("s3.npz") for (source, *_), _ in asked):
            raise RuntimeError("worker died")
        return _summarise(asked, question)

    engine = cluster.by_cluster(Client(work, repeat(1)))
    if not keep_going:
        with pytest.raises(ReadError, match=r"s3\.npz: workers failed over it: RuntimeError worker died"):
            survey.survey(found[3:4], -100, engine=engine)
    run = survey.survey(found, -100, engine=engine, keep_going=keep_going)

    assert run.rows == 4 * ROWS or not keep_going
    assert [Path(path).name for path, _ in run.left_out] == ["s3.npz"] * keep_going
    assert keep_going or "worker died" in str(run.stopped)


def test_workers_that_come_later_get_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_TASK_BYTES", 1)  # a task for each shard
    monkeypatch.setattr(cluster, "_WAIT", 0)  # at once
    found, in_hand = shards([str(folder / "s*.npz")] * 3, []), list[int]()
    client: Client

    def work(asked: Any, question: bytes) -> Any:
        in_hand.append(client.tasks - len(in_hand))
        return _summarise(asked, question)

    client = Client(work, chain([0, 1, 4], repeat(4)))
    survey.survey(found, -100, engine=cluster.by_cluster(client))

    assert in_hand[:3] == [3, 3, 12]
    assert len(in_hand) == 15
