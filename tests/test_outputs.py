"""No output replaces an input or another output, and what is there already stays unless --force says so."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Xent, first

LOSS = "import numpy as np\ndef loss(x, y): return x[:, 0]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder of every kind of input, and go there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    for name in ("x.npy", "s/a.npy", "s/b.npy"):
        np.save(tmp_path / name, np.array([[0, 200], [1, 2]], np.float32))
    np.save(tmp_path / "k.npy", np.array([0, 1]))
    np.savez(tmp_path / "x.npz", logits=np.eye(2, dtype=np.float32), labels=np.array([0, 1]))
    (tmp_path / "case.yaml").write_text("logits: [[0, 1]]\nlabels: [0]\n", encoding="utf-8")
    (tmp_path / "mine.py").write_text(LOSS, encoding="utf-8")
    (tmp_path / "helper.py").write_text("", encoding="utf-8")
    (tmp_path / "link").symlink_to("case.yaml")
    os.link(tmp_path / "mine.py", tmp_path / "hard")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "run case.yaml -o case.yaml",
        "run . -o case.yaml",
        "run case.yaml -o link",
        "run link -o case.yaml",
        "compare case.yaml -o ./s/../case.yaml",
        "explain case.yaml -o case.yaml",
        "run case.yaml --methods mine.py:loss -o mine.py",
        "run case.yaml --methods mine.py:loss -o helper.py",
        "check mine.py:loss --only blog -o mine.py",
        "check mine.py:loss --only blog -o helper.py",
        "check mine.py:loss --only blog -o hard",
        "check mine:loss --only blog -o mine.py",
        "check mine.py:loss case.yaml -o case.yaml",
        "diagnose x.npy --labels k.npy -o x.npy",
        "diagnose x.npy --labels k.npy -o k.npy",
        "diagnose s/*.npy -o s/a.npy",
        "diagnose x.npy --labels k.npy --extract k.npy",
        "diagnose x.npy --labels k.npy --case case.yaml --extract case.yaml --force",
        "diagnose x.npy --labels k.npy --case case.yaml -o case.yaml",
        "diagnose x.npy --labels k.npy --loss mine.py:loss -o mine.py",
        "diagnose x.npy --labels k.npy -o b --extract b",
        "diagnose x.npy --labels k.npy -o b --extract ./b",
        "new x.npz --from x.npz --force",
    ],
)
def test_a_file_that_is_read_or_written_too_is_refused(xent: Xent, folder: Path, command: str) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    run = xent(*command.split())

    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    assert "write the results elsewhere" in run.err or "is written twice" in run.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command",
    ["diagnose x.npy --labels k.npy --extract there.yaml", "new there.yaml", "new --from x.npz there.yaml"],
)
def test_what_exists_stays_without_force(xent: Xent, folder: Path, command: str) -> None:
    there = folder / "there.yaml"
    there.write_text("before", encoding="utf-8")

    refused = xent(*command.split())

    assert refused.code == 2
    assert refused.err == "there.yaml: exists already; name another file, or pass --force to replace it\n"
    assert there.read_text(encoding="utf-8") == "before"
    assert xent(*command.split(), "--force").code in {0, 1}
    assert there.read_text(encoding="utf-8") != "before"


@pytest.mark.parametrize(
    "redirected",
    first(
        2,
        [
            "{} -o /dev/stdout > f",
            "{} -o /dev/fd/1 > f",
            "{} -o f > f",
            "{} -o /dev/fd/3 3> f",
            "{} -o /dev/stdout >> f",
        ],
    ),
)
def test_a_redirect_is_appended_to(folder: Path, redirected: str) -> None:
    xent = f"{sys.executable} -m xentcli run case.yaml"
    append = redirected.replace("> f", ">> f") if ">>" not in redirected else redirected
    (folder / "f").write_text("head\n", encoding="utf-8")

    done = subprocess.run(["bash", "-c", append.format(xent)], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert (folder / "f").read_text(encoding="utf-8").startswith("head\n")
    assert "are right." in (folder / "f").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["pkg.mod:loss", "pkg/mod.py:loss", "pkg/mod:loss"])
@pytest.mark.parametrize("output", ["pkg/deep/helper.py", "helper.py", "to-helper"])
def test_no_program_is_replaced_by_results(xent: Xent, folder: Path, target: str, output: str) -> None:
    (folder / "pkg" / "deep").mkdir(parents=True)
    (folder / "pkg" / "mod.py").write_text(LOSS, encoding="utf-8")
    (folder / "pkg" / "deep" / "helper.py").write_text("here = 1", encoding="utf-8")
    (folder / "to-helper").symlink_to("pkg/deep/helper.py")

    run = xent("check", target, "--only", "blog", "-o", output)

    assert (run.code, run.out, run.err) == (2, "", f"{output}: is a program; write the results elsewhere\n")
    assert (folder / "pkg" / "deep" / "helper.py").read_text(encoding="utf-8") == "here = 1"
