"""xent check on a device: arrays are made there, answers come back, and a lost device costs one answer.

Without an accelerator that is tried with stubs: a device of PyTorch in Python, and a CPU that JAX and
TensorFlow take for two. DEVICE=cuda tries PyTorch's losses, and JAX's, on a GPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Xent
from losses import right

from xentcli.errors import XentError
from xentcli.frameworks.conventions import CONVENTIONS, find_convention
from xentcli.frameworks.function import LossFunction
from xentcli.testing import check_loss

STUB, LOGICAL = "tests/losses/stub_device.py", "tests/losses/logical_devices.py"
DEVICE = os.environ.get("DEVICE", "")

frameworks = pytest.mark.frameworks
accelerator = pytest.mark.skipif(not DEVICE or DEVICE == "cpu", reason="DEVICE names no accelerator")


def torch() -> Any:
    return pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")


def checked(xent: Xent, *arguments: str) -> dict[str, Any]:
    run = xent("check", *arguments, "--format", "json")
    assert run.code in {0, 1}, run.err
    return json.loads(run.out)


def failing(report: dict[str, Any]) -> set[str]:
    """Name the checks that failed: a slow machine may not reach all."""
    return {check["name"] for check in report["checks"] if check["status"] == "failed"}


# NumPy


def test_numpy_has_no_other_device(xent: Xent) -> None:
    for arguments, message in (
        (["--convention", "numpy"], "device cuda: numpy has cpu here\n"),
        ([], "NumPy's arrays are on the cpu; --convention says whose arrays it takes"),
    ):
        run = xent("check", "tests/losses/right.py:log1p", "--device", "cuda", *arguments)

        assert (run.code, run.out) == (2, "")
        assert message.strip() in run.err
        assert run.err.count("\n") == 1
    with pytest.raises(XentError, match="device cuda: numpy has cpu here"):
        check_loss(right.log1p, device="cuda")


def test_the_device_is_in_every_report(xent: Xent) -> None:
    report = checked(xent, "tests/losses/right.py:log1p", "--device", "cpu", "--only", "blog")

    assert report["device"] == "cpu"
    assert report["remarks"] == []
    run = xent("check", "--program", "true", "--device", "cuda")
    assert run.code == 2
    assert run.err.startswith("--device: a program says in its greeting how it is called")


# PyTorch, on a stub


@frameworks
def test_a_device_that_is_not_there_is_said_with_those_that_are(xent: Xent) -> None:
    torch()
    run = xent("check", f"{STUB}:log1p", "--convention", "torch", "--device", "npu:7")

    assert (run.code, run.out) == (2, "")
    assert run.err == "device npu:7: torch has cpu, npu, npu:0 here\n"


@frameworks
def test_a_loss_is_called_on_the_device_and_float64_is_left_out(xent: Xent) -> None:
    torch()
    arguments = ("--only", "blog", "--only", "calls", "--only", "contract", "--only", "translation")

    report = checked(xent, f"{STUB}:checked", "--device", "npu", *arguments)

    assert failing(report) == set()
    assert (report["convention"], report["device"]) == ("torch", "npu")
    assert report["remarks"] == ["float64 left out: npu has no such arrays"]
    names = {check["name"]: check["batches"] for check in report["checks"]}
    both = checked(xent, f"{STUB}:checked", "--only", "translation")["checks"][0]["batches"]
    assert 0 < names["translation"] < both  # those of float32


@frameworks
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("with_a_row_of_the_cpu", 2),  # it gives no losses at all
        ("answers_on_the_cpu", 1),  # nothing that comes back on the device can be multiplied in
    ],
)
def test_a_loss_that_forgets_the_device_is_refused(xent: Xent, name: str, code: int) -> None:
    torch()
    run = xent(
        "check",
        f"{STUB}:{name}",
        "--convention",
        "torch",
        "--device",
        "npu",
        "--only",
        "blog",
        "--only",
        "contract",
    )

    assert run.code == code
    assert "npu:0 and cpu" in " ".join((run.out + run.err).split())


@frameworks
def test_a_product_is_made_on_the_device(xent: Xent) -> None:
    torch()
    report = checked(
        xent, f"{STUB}:linear", "--convention", "linear", "--device", "npu", "--only", "products"
    )

    assert failing(report) == set()


@frameworks
def test_an_assert_on_the_device_costs_one_answer(xent: Xent) -> None:
    torch()
    report = checked(
        xent,
        f"{STUB}:log1p",
        "--device",
        "npu",
        "--only",
        "invalid-labels",
        "--budget",
        "30",
    )

    assert failing(report) == set()
    invalid = next(check for check in report["checks"] if check["name"] == "invalid-labels")
    assert invalid["batches"] >= 1
    assert any("after each the process starts anew" in remark for remark in report["remarks"])


@frameworks
def test_in_this_process_a_lost_device_ends_the_check(tmp_path: Path) -> None:
    torch()
    script = tmp_path / "in_process.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'tests' / 'losses')!r})\n"
        "import stub_device\nfrom xentcli.testing import check_loss\n"
        "check_loss(stub_device.checked, 'torch', device='npu', only='blog')\n"
        "print('passed')\n"
        "try:\n"
        "    check_loss(stub_device.log1p, 'torch', device='npu', only=['invalid-labels', 'gradients'])\n"
        "except AssertionError as error:\n"
        "    print(' '.join(str(error).split()))\n"
    )

    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert run.stdout.startswith("passed\nlog1p passed 0 checks, "), run.stdout + run.stderr
    assert (
        "npu was lost in invalid-labels, RuntimeError: npu error: device-side assert triggered" in run.stdout
    )
    assert "'xent check' would call the rest in a new process" in run.stdout


# JAX and TensorFlow, whose CPU can be two devices


@frameworks
def test_jax_computes_on_the_second_device(xent: Xent, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax", reason="is not installed; .ci/run tests with it")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    options = ("--convention", "optax", "--only", "blog", "--only", "contract")

    report = checked(xent, f"{LOGICAL}:jaxed", *options, "--device", "cpu:1")

    assert failing(report) == set()
    assert report["device"] == "cpu:1"
    assert xent("check", f"{LOGICAL}:jaxed", *options).code != 0  # on the first, its asserts fail
    run = xent("check", f"{LOGICAL}:jaxed", *options, "--device", "cuda:1")
    assert run.err == "device cuda:1: jax has cpu, cpu:0, cpu:1 here\n"


@frameworks
def test_tensorflow_computes_on_the_second_device(xent: Xent) -> None:
    pytest.importorskip("tensorflow", reason="is not installed; .ci/run tests with it")
    options = ("--convention", "tensorflow", "--only", "blog", "--only", "untouched")

    report = checked(xent, f"{LOGICAL}:tensorflowed", *options, "--device", "cpu:1")

    assert failing(report) == set()
    assert report["device"] == "cpu:1"
    assert xent("check", f"{LOGICAL}:tensorflowed", *options).code != 0
    run = xent("check", f"{LOGICAL}:tensorflowed", *options, "--device", "xpu")
    assert run.err == "device xpu: tensorflow has cpu, cpu:0, cpu:1 here\n"


# An accelerator


@accelerator
@frameworks
@pytest.mark.parametrize(
    ("target", "convention"),
    [("tests/losses/torched.py:log1p", "torch"), ("tests/losses/linear_torched.py:in_float32", "linear")],
)
def test_a_right_loss_passes_on_the_accelerator(xent: Xent, target: str, convention: str) -> None:
    if not getattr(torch(), DEVICE.partition(":")[0]).is_available():
        pytest.skip(f"PyTorch finds no {DEVICE}")

    report = checked(xent, target, "--convention", convention, "--device", DEVICE, "--budget", "300")

    assert failing(report) == set()
    assert report["device"] == DEVICE


@accelerator
@frameworks
def test_an_assert_of_the_accelerator_is_survived(xent: Xent) -> None:
    if not getattr(torch(), DEVICE.partition(":")[0]).is_available():
        pytest.skip(f"PyTorch finds no {DEVICE}")
    target = "torch.nn.functional:cross_entropy"

    report = checked(xent, target, "--device", DEVICE, "--only", "invalid-labels", "--only", "blog")

    assert failing(report) == set()


@accelerator
@frameworks
def test_jax_computes_on_the_accelerator(xent: Xent) -> None:
    jax = pytest.importorskip("jax", reason="is not installed; .ci/run tests with it")
    if jax.default_backend() == "cpu":
        pytest.skip("JAX finds no accelerator")

    report = checked(
        xent, "tests/losses/jaxed.py:log1p", "--convention", "optax", "--device", DEVICE, "--only", "blog"
    )

    assert failing(report) == set()


def test_a_convention_knows_its_device() -> None:
    assert find_convention("numpy", "", None, "cuda:1").device == "cuda:1"
    assert CONVENTIONS["numpy"].device == "cpu"
    assert LossFunction.build(right.log1p, None, CONVENTIONS["numpy"]).convention.lacks == ()
