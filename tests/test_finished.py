"""Runs of diagnose that go on where another stopped: what is kept of it, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from five_shards import arrays_of, report, write_shards

from xentcli.diagnose import summary, survey
from xentcli.diagnose.dumps import Shard, shards
from xentcli.diagnose.finished import Finished
from xentcli.diagnose.summary import summarise
from xentcli.errors import XentError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_shards(tmp_path)
    return tmp_path


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


@pytest.mark.parametrize(
    "text", ["my only notes", '{"minified": "JSON"}', "\0" * 1000, '{"schema": "xent.fin']
)
def test_a_file_of_something_else_is_not_replaced(xent: Xent, folder: Path, text: str) -> None:
    path = folder / "notes"
    path.write_text(text)
    run = xent("diagnose", folder / "s0.npz", "--resume", path)

    assert (run.code, run.out) == (2, "")
    assert run.err == f"{path}: is no file of --resume; give another name\n"
    assert path.read_text() == text


def test_links_and_other_files_stay_what_they_are(xent: Xent, folder: Path) -> None:
    link, fifo, beside = folder / "link", folder / "fifo", folder / "real.part"
    link.symlink_to("real")
    os.mkfifo(fifo)
    beside.write_text("precious")

    for path in (fifo, folder, "-", "/dev/null"):
        run = xent("diagnose", folder / "s0.npz", "--resume", path)
        assert (run.code, run.err) == (2, f"{path}: is no regular file; --resume needs one\n")
    for _ in range(2):
        assert xent("diagnose", folder / "s0.npz", "--resume", link).code == 0
    assert link.is_symlink()
    assert (folder / "real").read_text().startswith('{"schema": "xent.finished/1"')
    assert beside.read_text() == "precious"
    assert not [each for each in folder.iterdir() if each.name.startswith(".")]


def test_a_shard_without_labels_makes_another_question(xent: Xent, folder: Path) -> None:
    """As long as one has none, no label is looked at."""
    np.savez(folder / "z.npz", logits=arrays_of(0)[0])
    few = ["diagnose", folder / "s1.npz", folder / "s2.npz", "--format", "json"]
    done = ["--resume", folder / "done"]
    for arguments in (few, [*few, folder / "z.npz"], few):
        assert xent(*arguments, *done) == xent(*arguments)


def test_files_of_another_role_are_other_files(xent: Xent, folder: Path) -> None:
    x, k = arrays_of(1)
    indices = np.argsort(-x, axis=1)[:, :4]
    values = np.take_along_axis(x, indices, axis=1)
    np.savez(folder / "top.npz", values=values, indices=indices)
    np.savez(folder / "side.npz", labels=k, logsumexp=np.log(np.exp(x.astype(float)).sum(axis=1)))
    arguments, done = ["diagnose", folder / "top.npz", "--labels", folder / "side.npz"], folder / "done"
    assert xent(*arguments, "--resume", done) == xent(*arguments)
    arguments += ["--logsumexp", folder / "side.npz"]

    assert xent(*arguments, "--resume", done) == xent(*arguments)


@pytest.mark.parametrize(("old", "new"), [('"rows": 300', '"rows": 301'), ("{LINE}", "{LINE}{LINE}")])
def test_a_line_that_was_changed_is_refused(xent: Xent, folder: Path, old: str, new: str) -> None:
    done = folder / "done"
    assert xent("diagnose", folder / "s0.npz", "--resume", done).code == 0
    text = done.read_text()
    line = text.partition("\n")[2]
    done.write_text(text.replace(old.replace("{LINE}", line), new.replace("{LINE}", line)))

    assert xent("diagnose", folder / "s0.npz", "--resume", done).err == (
        f"{done}: is no file of --resume; give another name\n"
    )
