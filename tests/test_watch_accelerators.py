"""``watch`` where logits are on an accelerator: the same answer, and files as from a CPU.

Marked ``frameworks``; skipped where PyTorch or JAX finds no accelerator. DEVICE=cpu tries the tests.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xentcli.bridge import save
from xentcli.bridge.options import MEMORY, BadLoss, BadLossWarning
from xentcli.bridge.watch import watch

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]
DEVICE = os.environ.get("DEVICE", "cuda")
WHY = r"step 812: loss is nan: infinite-logit in 1 of 32 rows \(row 3, class 5\)"
DTYPES = ["float32", "bfloat16", "float16"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xentcli.bridge.capture.FILES", save.Files())
    for remembered in (MEMORY.calls, MEMORY.good, MEMORY.rows):
        remembered.clear()


@pytest.fixture
def torch() -> Any:
    torch = pytest.importorskip("torch", reason="is not installed")
    if DEVICE == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch finds no accelerator")
    torch.manual_seed(0)
    return torch


def made(torch: Any, dtype: str = "float32") -> tuple[Any, Any, Any]:
    """Return logits of which row 3 has an infinite one of class 5, as they were before, and labels."""
    good = torch.randn(32, 10, device=DEVICE, dtype=getattr(torch, dtype))
    bad, labels = good.clone(), torch.randint(0, 10, (32,), device=DEVICE)
    bad[3, 5] = float("inf")
    return bad.requires_grad_(), good.requires_grad_(), labels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_compiled", [False, True])
def test_torch_names_the_row_and_saves_its_bits(torch: Any, dtype: str, is_compiled: bool) -> None:
    bad, good, k = made(torch, dtype)

    def step(logits: Any, number: int) -> Any:
        return watch(torch.nn.functional.cross_entropy(logits, k), logits, k, step=number)

    step = torch.compile(step, fullgraph=True) if is_compiled else step
    for number in range(3):
        step(good, number).backward()
    with pytest.raises(BadLoss, match=WHY) as raised:
        step(bad, 812)

    assert good.grad.device == good.device
    with np.load(str(raised.value.path)) as file:
        assert json.loads(str(file["meta"]))["dtype"] == dtype
        bits = {4: np.int32, 2: np.int16}[bad.element_size()]
        own = bad.detach().cpu().contiguous().view(getattr(torch, bits.__name__)).numpy()
        assert np.array_equal(file["logits"].view(bits), own[file["rows"]])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_torch_under_autocast_with_a_scaled_loss(torch: Any, dtype: str) -> None:
    layer = torch.nn.Linear(16, 10).to(DEVICE)
    x, k = torch.randn(32, 16, device=DEVICE), torch.randint(0, 10, (32,), device=DEVICE)
    scaler = torch.amp.GradScaler(DEVICE)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def step(x: Any, number: int) -> None:
        with torch.autocast(DEVICE, dtype=getattr(torch, dtype)):
            logits = layer(x)
            loss = watch(torch.nn.functional.cross_entropy(logits, k), logits, k, step=number)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    for number in range(3):
        step(x, number)
    with torch.no_grad():
        layer.weight[:, 0], layer.weight[5, 0] = 0, 10
    x[3, 0] = 3e38  # float16 has no such number: the logits of all classes are nan
    with pytest.raises(BadLoss, match=r"-logit in 1 of 32 rows \(row 3, class"):
        step(x, 812)


@pytest.mark.parametrize("options", [{"previous": True}, {"gradient": True}, {"on": "warn"}, {"on": "skip"}])
def test_torch_with_each_option(torch: Any, options: dict[str, Any]) -> None:
    bad, good, k = made(torch)
    loss = torch.nn.functional.cross_entropy
    watch(loss(good, k), good, k, step=811, **options).backward()
    if "on" not in options:
        with pytest.raises(BadLoss, match=WHY):
            watch(loss(bad, k), bad, k, step=812, **options)
        return
    with pytest.warns(BadLossWarning, match=WHY):
        found = watch(loss(bad, k), bad, k, step=812, **options)
    assert found.device == bad.device
    assert (found.item() == 0) == (options["on"] == "skip")


def test_torch_finds_a_gradient_that_is_nan(torch: Any) -> None:
    x = torch.tensor([[200.0, 0.0], [1.0, 0.0]], device=DEVICE, requires_grad=True)
    k = torch.tensor([0, 0], device=DEVICE)
    wrong = torch.where(x.exp().isinf(), 0 * x, x.exp())[:, 0]
    loss = watch(torch.nn.functional.cross_entropy(x, k) + wrong.mean() * 0, x, k, step=1, gradient=True)
    with pytest.raises(BadLoss, match="gradient"):
        loss.backward()


def test_torch_makes_the_logits_of_a_fused_loss(torch: Any) -> None:
    hidden = torch.randn(32, 16, device=DEVICE)
    weight, k = torch.randn(10, 16, device=DEVICE), torch.randint(0, 10, (32,), device=DEVICE)
    weight[:, 0], weight[5, 0] = 0, 10
    hidden[3, 0] = 3e38
    loss = torch.nn.functional.cross_entropy(hidden @ weight.T, k)
    with pytest.raises(BadLoss, match=WHY):
        watch(loss, None, k, step=812, hidden=hidden, weight=weight)


def test_jax_names_the_row() -> None:
    jax = pytest.importorskip("jax", reason="is not installed")
    if DEVICE == "cuda" and jax.default_backend() == "cpu":
        pytest.skip("JAX finds no accelerator")
    logits = np.random.default_rng(0).standard_normal((32, 10)).astype(np.float32)
    logits[3, 5] = np.inf
    k = np.arange(32) % 10

    def step(x: Any) -> Any:
        loss = -jax.nn.log_softmax(x)[np.arange(32), k].mean()
        return watch(loss, x, k, step=812)

    with pytest.raises(Exception, match="infinite-logit in 1 of 32 rows"):
        jax.block_until_ready(jax.jit(step)(jax.numpy.asarray(logits)))
