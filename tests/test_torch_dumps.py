"""Dumps of torch: tensors alone are read, by torch in a process of its own; nothing of a file runs.

``data/batch.pt`` was written by torch 2.13.0: ``torch.save({"logits": x, "labels": k}, path)`` of float32
(6, 4, 8) and int64 (6, 4), logit 3 of row 9 being -200.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import fuzz_torch
import numpy as np
import pytest
from conftest import ROOT, Xent
from test_answer import answer
from test_process import is_alive, seen

from xentcli.cli import progress

BATCH = ROOT / "tests" / "data" / "batch.pt"
SAVE = 'torch.save({"logits": logits, "labels": labels}, "batch.pt")'


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a module named torch before any other; return what writes its text."""
    (tmp_path / "lib").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    return (tmp_path / "lib" / "torch.py").write_text


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


class _Large:
    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (2**36,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "raise ModuleNotFoundError('No module named torch', name='torch')",
            "reading .pt needs torch: pip install torch, or save with np.savez(",
        ),
        (
            "raise ImportError('libgomp.so.1: cannot open\\nshared object')",
            "reading .pt needs torch (libgomp.so.1: cannot open shared object): pip install torch, or save",
        ),
        (
            "__version__ = '2.9.1+cu128'",
            "torch 2.9.1+cu128 may run code of a .pt file; install torch 2.10 or",
        ),
        (
            "__version__ = 'mine'",
            "torch mine may run code of a .pt file; install torch 2.10 or newer, or save",
        ),
        (
            "import os; os.abort()",
            f"torch could not read it: the process ended with signal 6; save tensors with {SAVE}",
        ),
    ],
)
def test_a_torch_that_cannot_read_it_gets_one_message(xent: Xent, fake: Any, text: str, message: str) -> None:
    fake(text)

    run = xent("diagnose", BATCH)

    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"{BATCH}: {message}")
    assert run.err.count("\n") == 1


def test_an_archive_that_unpacks_to_far_more_is_refused_before_torch_sees_it(
    xent: Xent, tmp_path: Path, fake: Any
) -> None:
    fake("import os; os.abort()")
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data/0", bytes(2**27 + 1))

    run = xent("diagnose", tmp_path / "x.pt")

    message = "its tensors take 128 MiB in memory, many times the file; save them with np.save"
    assert (run.code, run.err) == (2, f"{tmp_path / 'x.pt'}: {message}\n")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_what_reads_it_ends_with_the_command_and_leaves_no_folder(
    tmp_path: Path, fake: Any, name: str
) -> None:
    pid, folder = tmp_path / "pid", tmp_path / "tmp"
    folder.mkdir()
    fake(f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(60)")
    command = [sys.executable, "-m", "xentcli", "diagnose", str(BATCH)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as xent:
        assert seen(lambda: pid.exists() and pid.read_text(encoding="utf-8") != "")

        xent.send_signal(getattr(signal, name))

        _, said = xent.communicate(timeout=10)
    assert seen(lambda: not is_alive(int(pid.read_text(encoding="utf-8"))), 3)
    assert "Traceback" not in said
    if name != "SIGKILL":
        assert list(folder.iterdir()) == []
        assert xent.returncode == 128 + getattr(signal, name)


# What torch itself makes of files.


def saved(torch: Any, folder: Path, found: Any, **options: Any) -> Path:
    torch.save(found, folder / "batch.pt", **options)
    return folder / "batch.pt"


@pytest.mark.frameworks
@pytest.mark.parametrize("how", ["dict", "old", "nested", "list", "tuple", "gradient", "strided", "pth"])
def test_tensors_are_diagnosed_as_arrays_are_digit_for_digit(
    xent: Xent, tmp_path: Path, torch: Any, how: str
) -> None:
    x, k = (
        torch.randn(7, 5, 8, generator=torch.Generator().manual_seed(3)),
        torch.arange(35).reshape(7, 5) % 8,
    )
    x[1, 2, 3], x[4, 0, 1], k[2, 2] = float("inf"), -200, 8
    found = {
        "nested": {"out": {"logits": x}, "labels": k, "step": 3, "note": "hello", "none": None},
        "list": [x, k],
        "tuple": (x, k),
        "gradient": {"logits": x.clone().requires_grad_(), "labels": k},
        "strided": {"logits": x.transpose(0, 2).contiguous().transpose(0, 2), "labels": k},
    }.get(how, {"logits": x, "labels": k})
    path = saved(torch, tmp_path, found, _use_new_zipfile_serialization=how != "old")
    if how == "pth":
        path = path.rename(path.with_suffix(".pth"))
    np.savez(tmp_path / "batch.npz", logits=x.numpy(), labels=k.numpy())

    documents = [
        json.loads(xent("diagnose", each, "--format", "json").out) for each in (path, tmp_path / "batch.npz")
    ]

    for document, name in zip(documents, (str(path), str(tmp_path / "batch.npz")), strict=True):
        assert document.pop("files") == [name]
        assert {each.pop("file") for each in document["worst"]} == {name}
    assert documents[0] == documents[1]


@pytest.mark.frameworks
def test_the_bits_of_bfloat16_are_kept(xent: Xent, tmp_path: Path, torch: Any) -> None:
    import ml_dtypes

    x = torch.randn(20, 5, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "x.npy", x.view(torch.int16).numpy().view(ml_dtypes.bfloat16))

    runs = [
        xent("diagnose", path, "--format", "plain").out.replace(path.name, "x")
        for path in (saved(torch, tmp_path, x), tmp_path / "x.npy")
    ]

    assert runs[0] == runs[1]
    assert "20 × 5 bfloat16" in runs[0]


@pytest.mark.frameworks
def test_the_kept_file_is_that_of_the_torch_at_hand(xent: Xent, torch: Any) -> None:
    assert torch is not None
    assert answer(xent("diagnose", BATCH)).endswith("row 9 [2, 1] (its probability of class 3 underflows).")


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "hostile",
            f"holds more than tensors, and only running its code would read it; save tensors with {SAVE}",
        ),
        ("hostile-old", "holds more than tensors, and only running its code would read it; save"),
        ("pickle", "holds more than tensors, and only running its code would read it; save"),
        ("module", "holds more than tensors, and only running its code would read it; save"),
        ("script", "is a model, not tensors; save"),
        ("number", "holds no tensor of numbers; save"),
        ("sparse", "the tensor is sparse; save x.to_dense()"),
        ("junk", "is no .pt of torch, or incomplete; save"),
        ("empty", "is no .pt of torch, or incomplete; save"),
        ("cut", "is no .pt of torch, or incomplete; save"),
        ("expanded", "its tensors take 512 MiB in memory, many times the file; save them with np.save"),
        ("large", "its tensors take 128 MiB in memory, many times the file; save them with np.save"),
        ("itself", "holds too many values, or too deep ones; save"),
        ("many times", "holds too many values, or too deep ones; save"),
    ],
)
def test_a_file_of_anything_else_gets_one_message_and_runs_nothing(  # noqa: PLR0913, PLR0917 - fixtures
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: Any, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    itself: list[Any] = []
    itself.append(itself)
    many: list[Any] = [0] * 1000
    for _ in range(3):
        many = [many] * 1000
    bad: dict[str, Any] = {
        "hostile": _Harmful(),
        "hostile-old": _Harmful(),
        "number": {"step": 3},
        "expanded": torch.zeros(1, 8).expand(2**24, 8),
        "large": _Large(),
        "itself": itself,
        "many times": many,
        "module": torch.nn.Linear(2, 3),
    }
    path = saved(torch, tmp_path, bad.get(name), _use_new_zipfile_serialization=name != "hostile-old")
    if name == "sparse":
        path = saved(torch, tmp_path, torch.eye(3).to_sparse())
    elif name == "script":
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(2)), path)
    elif name not in bad:
        parts = {"pickle": pickle.dumps(_Harmful()), "junk": b"junk", "cut": BATCH.read_bytes()[:-300]}
        path.write_bytes(parts.get(name, b""))

    run = xent("diagnose", path)

    assert not (tmp_path / "unpickled").exists()
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"{path}: {message}")
    assert run.err.count("\n") == 1


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")  # torch has words on its layouts and quantised tensors
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("sparse", "is sparse; save logits.to_dense()"),
        ("rows", "is sparse; save logits.to_dense()"),
        ("float8", "is float8_e4m3fn, which NumPy does not have; save logits.float()"),
        ("quantised", "is quantised; save logits.dequantize()"),
        ("meta", "is on the device meta and has no numbers; save one that has"),
    ],
)
def test_a_tensor_that_numpy_does_not_have_is_named_with_what_to_save(
    xent: Xent, tmp_path: Path, torch: Any, how: str, said: str
) -> None:
    x = torch.eye(3)
    odd = {
        "sparse": x.to_sparse,
        "rows": x.to_sparse_csr,
        "float8": lambda: x.to(torch.float8_e4m3fn),
        "quantised": lambda: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        "meta": lambda: x.to("meta"),
    }[how]()
    path = saved(torch, tmp_path, {"logits": odd, "labels": torch.arange(3)})

    for done in (xent("diagnose", path), xent("new", "--from", path, "-"), xent("run", path)):
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"{path}: 'logits' {said}")
    path = saved(torch, tmp_path, {"logits": x, "labels": torch.arange(3), "other": odd})
    assert xent("diagnose", path).code == 0


@pytest.mark.frameworks
@pytest.mark.parametrize("how", ["bfloat16", "float16", "float64"])
def test_a_case_of_tensors_is_that_of_the_arrays(xent: Xent, tmp_path: Path, torch: Any, how: str) -> None:
    x = torch.linspace(-9, 9, 15).reshape(3, 5).to(getattr(torch, how))
    stored = x.view(torch.int16).numpy().view("V2") if how == "bfloat16" else x.numpy()
    np.savez(tmp_path / "batch.npz", logits=stored, labels=np.arange(3))
    path = saved(torch, tmp_path, {"logits": x, "labels": torch.arange(3)})

    texts = [xent("new", "--from", each, "-").out for each in (path, tmp_path / "batch.npz")]

    assert f"dtype: {how}" in texts[0]
    assert texts[0].replace("batch.pt", "batch.npz") == texts[1]
    assert xent("run", path).code == 0


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")  # torch has words on its layouts
def test_hostile_files_by_the_hundred_run_nothing_and_get_a_message_each(tmp_path: Path, torch: Any) -> None:
    ends = fuzz_torch.read_all(fuzz_torch.files(torch, tmp_path, seed=0, number=400), tmp_path)

    assert ends["runs", "read"] == 0
    assert ends["runs", "refused"] >= 30
    assert min(ends["whole", "read"], ends["member", "read"], ends["member", "refused"]) >= 10


def test_what_takes_long_is_said_on_a_terminal_and_gone_after(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_is_shown", lambda: True)
    monkeypatch.setattr(progress, "_PATIENCE", 0.01)
    with progress.waiting("reading"):
        assert seen(lambda: capfd.readouterr().err == "reading …")

    assert capfd.readouterr().err == f"\r{' ' * 9}\r"
    monkeypatch.setattr(progress, "_PATIENCE", 10.0)
    with progress.waiting("reading"):
        pass
    assert capfd.readouterr().err == ""
