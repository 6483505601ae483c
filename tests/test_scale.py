"""Dumps beyond one machine: the same report, to the byte, from addresses, clusters and runs that go on."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent

from xentcli.diagnose import cluster, summary, survey
from xentcli.diagnose.diagnosis import diagnosis_of
from xentcli.diagnose.dumps import Shard, shards
from xentcli.diagnose.files.stored import ReadError
from xentcli.diagnose.finished import Finished
from xentcli.diagnose.summary import summarise
from xentcli.errors import XentError
from xentcli.show.diagnosed import as_json

fsspec = pytest.importorskip("fsspec", reason="is not installed: pip install 'xent[dask]'")

ROWS, CLASSES = 300, 12


def arrays_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    x = (random.standard_normal((ROWS, CLASSES)) * 5).astype(np.float32)
    k = random.integers(0, CLASSES, ROWS)
    if number == 2:
        x[7, 3], k[11], k[12] = np.inf, -100, 99
    return x, k


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write five shards."""
    for number in range(5):
        x, k = arrays_of(number)
        np.savez(tmp_path / f"s{number}.npz", logits=x, labels=k)
        np.save(tmp_path / f"x{number}.npy", x)
        np.save(tmp_path / f"k{number}.npy", k)
    return tmp_path


@pytest.fixture
def memory(folder: Path) -> Iterator[str]:
    """Put the shards at addresses of fsspec's memory, and take them away again."""
    system = fsspec.filesystem("memory")
    for path in folder.iterdir():
        system.pipe_file(f"/dump/{path.name}", path.read_bytes())
    yield "memory://dump"
    system.rm("/dump", recursive=True)


def report(found: list[Shard], **how: Any) -> str:
    """Return the report of shards, without their folder."""
    text = as_json(diagnosis_of(survey.survey(found, -100, **how)), None)
    return text.replace(found[0].path.rpartition("/")[0], "")


def test_shards_are_sorted_by_name_and_any_engine_says_the_same(folder: Path, memory: str) -> None:
    names = [f"x{number}.npy" for number in (3, 0, 4, 1, 2)]
    here = [str(folder / name) for name in names], [str(folder / name.replace("x", "k")) for name in names]
    there = [f"{memory}/x*.npy"], [f"{memory}/k*.npy"]
    wanted = report(shards(*here), engine=survey.by_threads(1))

    assert [Path(shard.path).name for shard in shards(*here)] == sorted(names)
    assert report(shards(*here), engine=survey.by_threads(8)) == wanted
    assert report(shards(*there)) == wanted
    assert report(shards([f"{memory}/s*.npz"], [])).replace(".npz", ".npy").replace("/s", "/x") == wanted


def test_the_workers_of_a_cluster_say_the_same(memory: str) -> None:
    distributed = pytest.importorskip("distributed", reason="is not installed: pip install 'xent[dask]'")
    found = shards([f"{memory}/x*.npy"], [f"{memory}/k*.npy"])
    wanted = report(found)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "processes": False}
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


def test_a_run_goes_on_where_another_stopped(
    xent: Xent, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["diagnose", *(str(folder / f"s{n}.npz") for n in range(5)), "--format", "json"]
    done = str(folder / "done.jsonl")
    wanted, read = xent(*arguments), list[str]()

    def stopping(shard: Shard, rows: slice, question: Any) -> Any:
        read.append(Path(shard.path).name)
        if len(read) == 4:
            raise KeyboardInterrupt
        return summarise(shard, rows, question)

    monkeypatch.setattr(summary, "summarise", stopping)
    monkeypatch.setattr("xentcli.threads.processors", lambda: 1)
    assert xent(*arguments, "--resume", done).code == 130
    with Path(done).open("a", encoding="utf-8") as file:
        file.write('["half a li')
    read.clear()
    assert xent(*arguments, "--resume", done) == wanted
    assert read == ["s3.npz", "s4.npz"]
    os.utime(folder / "s1.npz", (1, 1))
    read.clear()
    assert xent(*arguments, "--resume", done) == wanted
    assert read == ["s1.npz"]
    other = xent(*arguments, "--resume", done, "--ignore-index", "3")
    assert other.code == 2
    assert other.err.startswith(f"{done}: is of a run with another --ignore-index (-100; now 3); give")


def test_many_shards_are_kept_in_few_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xentcli.diagnose.finished._GROUP", 3)
    x, k = arrays_of(2)
    for number in range(20):
        np.savez(folder / f"g{number:02}.npz", logits=x[number : number + 9], labels=k[number : number + 9])
    found, done = shards([str(folder / "g*.npz")], []), folder / "done.jsonl"
    wanted = report(found)
    with Finished(str(done), {"options": "a"}) as finished:
        survey.survey(found, -100, finished=finished, engine=survey.by_threads(1))
    sizes = [len(json.loads(line.partition("\t")[0])) for line in done.read_text().splitlines()[1:]]
    read: list[str] = []

    def noting(shard: Shard, rows: slice, question: Any) -> Any:
        read.append(Path(shard.path).name)
        return summarise(shard, rows, question)

    monkeypatch.setattr(summary, "summarise", noting)
    with Finished(str(done), {"options": "a"}) as finished:
        assert report(found, finished=finished) == wanted
    assert (sizes, read) == ([9, 9, 1, 1], [])
    os.utime(folder / "g12.npz", (1, 1))
    changed = shards([str(folder / "g*.npz")], [])
    with Finished(str(done), {"options": "a"}) as finished:
        assert report(changed, finished=finished) == wanted
    assert sorted(read) == [f"g{number:02}.npz" for number in range(9, 18)]


@pytest.mark.parametrize(
    "text",
    [
        "x\n",
        "[]\n",
        '{"schema": "xent.other/1"}\n',
        "{HEAD}\nno tab\n",
        "{HEAD}\n{KEY}\t[1]\n",
        "{HEAD}\n{KEY}\t{}\n",
    ],
)
def test_another_file_is_no_file_of_resume(folder: Path, text: str) -> None:
    (shard,) = shards([str(folder / "s0.npz")], [])
    done = folder / "done.jsonl"
    with Finished(str(done), {"options": "a"}) as finished:
        survey.survey([shard], -100, finished=finished)
    head, line = done.read_text().splitlines()
    done.write_text(text.replace("{HEAD}", head).replace("{KEY}", line.partition("\t")[0]))

    with pytest.raises(XentError, match=r"done\.jsonl: is no file of --resume"):
        survey.survey([shard], -100, finished=Finished(str(done), {"options": "a"}))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("group", [7, 1000])
def test_parquet_is_read_by_row_groups(folder: Path, dtype: str, group: int) -> None:
    arrow = pytest.importorskip("pyarrow", reason="is not installed: pip install 'xent[parquet]'")
    from pyarrow import parquet

    x, k = arrays_of(2)
    x = x.astype(dtype)
    np.savez(folder / "p.npz", logits=x, labels=k)
    rows = arrow.FixedSizeListArray.from_arrays(arrow.array(x.reshape(-1)), CLASSES)
    table = arrow.table({"logits": rows, "labels": k, "text": ["a"] * ROWS})
    parquet.write_table(table, folder / "p.parquet", row_group_size=group)
    shutil.copy(folder / "p.parquet", folder / "q.parquet")
    offsets = np.arange(0, x.size + 1, CLASSES, dtype=np.int32)
    lists = arrow.table({"logits": arrow.ListArray.from_arrays(offsets, x.reshape(-1)), "labels": k})
    parquet.write_table(lists, folder / "q.parquet", row_group_size=group)
    wanted, found, other = (
        report(shards([str(folder / name)], [])) for name in ("p.npz", "p.parquet", "q.parquet")
    )

    assert found.replace("p.parquet", "p.npz") == wanted
    assert other.replace("q.parquet", "p.npz") == wanted


@pytest.mark.parametrize("how", ["null", "lengths", "cut", "text", "changed"])
def test_parquet_that_holds_no_logits_gets_one_message(xent: Xent, folder: Path, how: str) -> None:
    arrow = pytest.importorskip("pyarrow", reason="is not installed: pip install 'xent[parquet]'")
    from pyarrow import parquet

    path = folder / "p.parquet"
    rows: list[Any] = [[1.0, 2.0], [3.0, None if how == "null" else 4.0]]
    rows = [*rows, [1.0]] if how == "lengths" else rows
    table = arrow.table({"logits": ["a", "b"] if how == "text" else rows})
    parquet.write_table(table, path)
    if how == "cut":
        cut(path)
    if how == "changed":
        found = shards([str(path)], [])
        os.utime(path, (1, 1))
        with pytest.raises(ReadError, match="changed while it was read"):
            survey.survey(found, -100)
        return
    run = xent("diagnose", path)

    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"{path}: ")
    assert run.err.count("\n") == 1
