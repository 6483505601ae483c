"""Dumps beyond one machine: the same report, to the byte, from addresses, clusters and runs that go on."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Xent
from five_shards import ROWS, report, write_shards

from xentcli.diagnose import cluster, summary, survey
from xentcli.diagnose.cluster import _summarise
from xentcli.diagnose.dumps import Shard, shards
from xentcli.diagnose.files.stored import ReadError
from xentcli.diagnose.summary import summarise
from xentcli.diagnose.top_k import TopKQuestion
from xentcli.errors import XentError

fsspec = pytest.importorskip("fsspec", reason="is not installed: pip install 'xent[dask]'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shards(tmp_path)
    return tmp_path


@pytest.fixture
def memory(folder: Path) -> Iterator[str]:
    """Put the shards at addresses of fsspec's memory, and take them away again."""
    system = fsspec.filesystem("memory")
    for path in folder.iterdir():
        system.pipe_file(f"/dump/{path.name}", path.read_bytes())
    yield "memory://dump"
    system.rm("/dump", recursive=True)


@pytest.mark.slow
def test_shards_are_sorted_by_name_and_any_engine_says_the_same(folder: Path, memory: str) -> None:
    names = [f"x{number}.npy" for number in (3, 0, 4, 1, 2)]
    here = [str(folder / name) for name in names], [str(folder / name.replace("x", "k")) for name in names]
    there = [f"{memory}/x*.npy"], [f"{memory}/k*.npy"]
    wanted = report(shards(*here), engine=survey.by_threads(1))

    assert [Path(shard.path).name for shard in shards(*here)] == sorted(names)
    assert report(shards(*here), engine=survey.by_threads(8)) == wanted
    assert report(shards(*there)) == wanted
    assert report(shards([f"{memory}/s*.npz"], [])).replace(".npz", ".npy").replace("/s", "/x") == wanted


@pytest.mark.slow
def test_the_workers_of_a_cluster_say_the_same(memory: str) -> None:
    distributed = pytest.importorskip("distributed", reason="is not installed: pip install 'xent[dask]'")
    found = shards([f"{memory}/x*.npy"], [f"{memory}/k*.npy"])
    wanted = report(found)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "processes": False}
    with distributed.Client(**options) as client:
        by_cluster = report(found, engine=cluster.by_cluster(client))
        notes: list[str] = []
        own = cluster.programs()
        with pytest.MonkeyPatch.context() as patch:
            engine = cluster.by_cluster(client)
            mixed = cluster.by_cluster(client, allow_mixed=True, notes=notes)
            patch.setattr(cluster, "programs", lambda: own | {"NumPy": "0.1"})
            with pytest.raises(XentError, match=r"another NumPy \(0\.1\) than here .* --allow-mixed goes on"):
                report(found, engine=engine)
            noted = report(found, engine=mixed)
        fsspec.filesystem("memory").pipe_file("/dump/x3.npy", b"something else")
        with pytest.raises(ReadError, match=r"x3\.npy: "):
            survey.survey(found[3:4], -100, engine=cluster.by_cluster(client))

    assert by_cluster == wanted
    assert noted == by_cluster
    assert len(notes) == 1


def test_an_address_that_cannot_be_read_is_named(xent: Xent, memory: str) -> None:
    for address, message in (
        (f"{memory}/none.npy", "cannot be read: there is no such file"),
        (f"{memory}/none*.npy", "no file matches"),
        ("nowhere://x.npy", "nowhere"),
        (f"{memory}/x0.pt", "torch reads files of this machine alone"),
    ):
        fsspec.filesystem("memory").pipe_file("/dump/x0.pt", b"x")
        run = xent("diagnose", address)
        assert (run.code, run.out) == (2, "")
        assert run.err.startswith(f"{address}: ")
        assert message in run.err
        assert run.err.count("\n") == 1


def test_a_server_that_fails_for_a_while_is_asked_again(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, calls = type(fsspec.filesystem("memory")), []
    read = system.cat_ranges

    def failing(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) % 3:
            raise OSError("the connection was reset")
        return read(self, *arguments, **options)

    monkeypatch.setattr("time.sleep", lambda _: None)
    wanted = report(shards([f"{memory}/x0.npy"], []))
    monkeypatch.setattr(system, "cat_ranges", failing)
    found = shards([f"{memory}/x0.npy"], [])

    assert report(found, engine=survey.by_threads(1)) == wanted
    assert len(calls) == 3
    monkeypatch.setattr(system, "cat_ranges", lambda *_, **__: (_ for _ in ()).throw(OSError("it is down")))
    with pytest.raises(ReadError, match=r"x0\.npy: cannot be read: it is down"):
        survey.survey(found, -100)


@pytest.mark.parametrize("part", [lambda data: data[:-4], lambda data: data + b"more"])
def test_a_server_that_sends_other_bytes_than_were_asked_for(
    memory: str, monkeypatch: pytest.MonkeyPatch, part: Callable[[bytes], bytes]
) -> None:
    system = type(fsspec.filesystem("memory"))
    read, found = system.cat_ranges, shards([f"{memory}/x0.npy"], [])
    monkeypatch.setattr(system, "cat_ranges", lambda *a, **b: [part(each) for each in read(*a, **b)])

    with pytest.raises(ReadError, match=r"changed while it was read|its server sends whole files"):
        survey.survey(found, -100)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("harm", [cut, Path.unlink])
def test_keep_going_leaves_out_what_cannot_be_read_and_says_so(
    xent: Xent, folder: Path, harm: Callable[[Path], object]
) -> None:
    harm(folder / "x1.npy")
    arguments = [str(folder / f"x{n}.npy") for n in range(5)]
    labels = [each for n in range(5) for each in ("--labels", str(folder / f"k{n}.npy"))]
    stopped = xent("diagnose", *arguments, *labels)
    run = xent("diagnose", *arguments, *labels, "--keep-going", "--format", "json")
    document = json.loads(run.out)

    assert (stopped.code, stopped.out) == (2, "")
    assert run.code == 2
    assert [Path(each["file"]).name for each in document["left_out"]] == ["x1.npy"]
    assert f"1 of 5 files could not be read: {folder / 'x1.npy'}: " in document["verdict"]
    assert document["rows"] == 4 * ROWS
    assert run.err == ""


def test_a_shard_that_fails_on_the_way_is_left_out_as_a_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shards([str(folder / "x*.npy")], [str(folder / "k*.npy")])
    monkeypatch.setattr(survey, "_PART_ROWS", 100)
    calls = []

    def failing(shard: Shard, rows: slice, question: Any) -> Any:
        if shard.path.endswith("x3.npy"):
            calls.append(rows)
            if len(calls) == 2:
                raise ReadError("x3.npy: gone")
        return summarise(shard, rows, question)

    monkeypatch.setattr(summary, "summarise", failing)
    kept = survey.survey(found, -100, keep_going=True)
    monkeypatch.setattr(summary, "summarise", summarise)
    others = survey.survey([*found[:3], found[4]], -100)

    assert [path for path, _ in kept.left_out] == [found[3].path]
    assert (kept.rows, kept.summary.total) == (others.rows, others.summary.total)
    assert {name: tally.number for name, tally in kept.summary.rules.items()} == {
        name: tally.number for name, tally in others.summary.rules.items()
    }


def test_what_is_not_read_again_is_left_out_of_the_report(
    xent: Xent, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is gone after its rows were read costs the details of its rows, not the report."""
    wanted = json.loads(xent("diagnose", folder / "s1.npz", folder / "s2.npz", "--format", "json").out)

    def removing(*arguments: Any, **options: Any) -> Any:
        found = go_through(*arguments, **options)
        (folder / "s2.npz").unlink()
        return found

    go_through = survey.go_through
    monkeypatch.setattr(survey, "go_through", removing)
    run = xent("diagnose", folder / "s1.npz", folder / "s2.npz", "--format", "json")
    found = json.loads(run.out)

    assert run.code == 2
    assert run.err == f"{folder / 's2.npz'}: cannot be read: No such file or directory\n"
    assert (found["losses"]["mean"], found["findings"]) == (wanted["losses"]["mean"], wanted["findings"])


@pytest.mark.parametrize("form", ["table", "json"])
def test_interrupted_before_the_first_row(
    xent: Xent, folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(summary, "summarise", interrupted)
    run = xent("diagnose", folder / "s1.npz", "--format", form)

    assert run.code == 130
    assert "Interrupted before the first of 300 rows." in run.out
    assert "no finite logit" not in run.out


def test_names_of_several_files_that_cannot_be_read(xent: Xent, folder: Path) -> None:
    for number in (1, 2, 3, 4):
        cut(folder / f"s{number}.npz")
    run = xent(
        "diagnose", *(folder / f"s{number}.npz" for number in range(5)), "--keep-going", "--format", "json"
    )
    names = ", ".join(str(folder / f"s{number}.npz") for number in (1, 2, 3))

    assert (
        f" 4 of 5 files could not be read ({names}, …): {folder / 's1.npz'}: is no .npz"
        in json.loads(run.out)["verdict"]
    )


def test_a_web_address_may_have_a_query(xent: Xent, memory: str) -> None:
    fsspec.filesystem("memory").copy("/dump/s0.npz", "/dump/s0.npz?signed=1.2")

    assert xent("diagnose", f"{memory}/s0.npz?signed=1.2").code == 0


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (lambda: "dask", r"engine is str; give by_cluster\(client\)"),
        (lambda: cluster.by_cluster("tcp://127.0.0.1:1"), "client is str; expected a distributed.Client"),
    ],
)
def test_what_is_no_engine_is_refused(folder: Path, engine: Callable[[], Any], message: str) -> None:
    with pytest.raises(XentError, match=message):
        survey.survey(shards([str(folder / "s0.npz")], []), -100, engine=engine())


def test_a_file_that_a_worker_does_not_have_is_named_with_the_worker(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are made absolute: a worker has another folder."""
    monkeypatch.chdir(folder)
    (shard,) = shards(["s0.npz"], [])
    source, files, _ = shard.opened_by
    assert source is not None
    monkeypatch.setattr(cluster, "_worker", lambda: "tcp://a:1")
    monkeypatch.chdir("/")
    question = pickle.dumps(TopKQuestion(-100, 5))
    (folder / "s0.npz").unlink()
    (found,), _ = _summarise([((source, files, 0), [slice(0, 9)])], question)

    assert found == f"{folder / 's0.npz'}: cannot be read: No such file or directory, on the worker tcp://a:1"


@pytest.mark.parametrize(("cause", "calls"), [(OSError("503"), 3), (None, 1)])
def test_a_file_is_missing_where_its_server_says_so(
    memory: str, monkeypatch: pytest.MonkeyPatch, cause: Exception | None, calls: int
) -> None:
    """To fsspec's HTTP any failure is a file that is not found; what a server said is then the cause."""
    asked = []

    def failing(*_: Any, **__: Any) -> Any:
        asked.append(1)
        raise FileNotFoundError("x0.npy") from cause

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "info", failing)
    with pytest.raises(
        XentError, match="cannot be read: " + (str(cause) if cause else "there is no such file")
    ):
        shards([f"{memory}/x0.npy"], [])

    assert len(asked) == calls


def test_a_file_is_opened_again_where_a_server_fails_for_a_while(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, calls = type(fsspec.filesystem("memory")), []
    opening = system.open

    def failing(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) < 3:
            raise OSError("the connection was reset")
        return opening(self, *arguments, **options)

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(system, "open", failing)

    assert len(shards([f"{memory}/s0.npz"], [])) == 1
    assert len(calls) == 3
