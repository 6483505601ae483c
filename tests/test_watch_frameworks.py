"""``watch`` in the training loops of real frameworks: eager, compiled, traced, on two processes, by trainers.

Marked ``frameworks``: .ci/run installs them into an environment of their own and runs these there.
"""

import gc
import json
import os
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Xent

from xentcli.bridge import save
from xentcli.bridge.options import MEMORY, BadLoss
from xentcli.bridge.watch import watch
from xentcli.bridge.watched import Watched
from xentcli.errors import XentError

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # of torch's own
]
_INSTALLED = "is not installed; .ci/run tests with it"
WHY = r"step 812: loss is nan: infinite-logit in 1 of 32 rows \(row 3, class 5\)"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xentcli.bridge.capture.FILES", save.Files())
    for remembered in (MEMORY.calls, MEMORY.good, MEMORY.rows):
        remembered.clear()


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason=_INSTALLED)


def made(torch: Any, dtype: str = "float32") -> tuple[Any, Any, Any]:
    """Return a linear layer, input of which row 3 makes an infinite logit of class 5, and labels."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 10).to(getattr(torch, dtype))
    x, k = torch.randn(32, 16, dtype=getattr(torch, dtype)), torch.randint(0, 10, (32,))
    with torch.no_grad():
        layer.weight[:, 0] = 0
        layer.weight[5, 0] = 10
    return layer, x, k


def poisoned(x: Any) -> Any:
    x = x.clone()
    x[3, 0] = 3e38
    return x


def step_of(torch: Any, layer: Any, criterion: Any = None, **options: Any) -> Any:
    criterion = criterion or torch.nn.functional.cross_entropy

    def step(x: Any, k: Any, number: int) -> Any:
        logits = layer(x)
        return watch(criterion(logits, k), logits, k, step=number, **options)

    return step


@pytest.mark.parametrize("is_compiled", [False, True])
def test_torch_raises_eager_and_compiled_and_a_good_step_keeps_its_gradient(
    torch: Any, is_compiled: bool
) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer, context={"ids": k})
    step = torch.compile(step, fullgraph=True) if is_compiled else step

    for number in range(3):
        step(x, k, number).backward()
    found, layer.weight.grad = layer.weight.grad / 3, None
    torch.nn.functional.cross_entropy(layer(x), k).backward()

    assert torch.allclose(found, layer.weight.grad, rtol=0, atol=2**-24)
    with pytest.raises(BadLoss, match=WHY) as raised:
        step(poisoned(x), k, 812)
    assert raised.value.path == "xent-000812.npz"
    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["ids"], k.numpy()[file["rows"]])


@pytest.mark.parametrize("is_compiled", [False, True])
def test_bfloat16_is_saved_bit_for_bit(torch: Any, xent: Xent, is_compiled: bool) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(BadLoss, match=WHY) as raised:
        (torch.compile(step, fullgraph=True) if is_compiled else step)(poisoned(x), k, 812)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        logits = layer(poisoned(x))

    assert logits.dtype == torch.bfloat16
    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["logits"].view(np.int16), logits.view(torch.int16).numpy()[file["rows"]])
        assert json.loads(str(file["meta"]))["dtype"] == "bfloat16"
    assert "infinite-logit" in xent("diagnose", raised.value.path).out


def test_a_model_that_diverges_by_itself_is_stopped_with_the_cause_that_diagnose_and_explain_name(
    torch: Any, xent: Xent
) -> None:
    layer, x, k = made(torch)
    optimiser = torch.optim.SGD(layer.parameters(), lr=30)

    def naive(logits: Any, k: Any) -> Any:
        return -(torch.nn.functional.one_hot(k, 10) * torch.log(torch.softmax(logits, 1))).sum(1).mean()

    step = step_of(torch, layer, naive)
    with pytest.raises(BadLoss, match=r"step \d+: loss is (nan|inf): ([a-z-]+) in \d+ of 32 rows") as raised:  # noqa: PT012 - it diverges some time
        for number in range(200):
            optimiser.zero_grad()
            step(x * 10, k, number).backward()
            optimiser.step()

    (cause,) = raised.value.findings
    assert cause in {"zero-times-infinity", "log-of-zero"}
    asked = xent("diagnose", raised.value.path, "--method", "naive", "--extract", "worst.yaml")
    assert cause in asked.out
    assert cause in xent("explain", "worst.yaml", "--method", "naive").out


def test_skipping_in_torch_leaves_gradients_as_they_are(torch: Any) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer, on="skip")
    with pytest.warns(RuntimeWarning, match=WHY):
        loss = step(poisoned(x), k, 812)
    loss.backward()

    assert loss == 0
    assert layer.weight.grad is None


def test_skipping_is_refused_in_a_compiled_step(torch: Any) -> None:
    layer, x, k = made(torch)

    with pytest.raises(XentError, match="on='skip' needs eager code"):  # at the first step, be it good
        torch.compile(step_of(torch, layer, on="skip"), fullgraph=True)(x, k, 812)


def test_a_compiled_call_whose_result_is_not_used_looks_at_the_loss(torch: Any) -> None:
    layer, x, k = made(torch)

    def step(x: Any) -> Any:
        logits = layer(x)
        watch(torch.nn.functional.cross_entropy(logits, k), logits, k, step=812)
        return logits.sum()

    with pytest.raises(BadLoss, match=WHY):
        torch.compile(step, fullgraph=True)(poisoned(x))


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_gradient_that_is_not_finite_is_found_although_the_loss_is(torch: Any, is_compiled: bool) -> None:
    layer, x, k = made(torch)

    def guarded(logits: Any, k: Any) -> Any:  # what is not taken is nan, and its gradient 0 times nan
        masked = torch.where(logits > 1e6, torch.sqrt(logits - 1e6), 0.0)
        return torch.nn.functional.cross_entropy(logits, k) + masked.sum()

    step = step_of(torch, layer, guarded, gradient=True)
    step = torch.compile(step, fullgraph=True) if is_compiled else step
    loss = step(x, k, 812)

    with pytest.raises(
        BadLoss, match=r"but its gradient is not finite: nan-gradient in 32 of 32 rows \(row 0\)"
    ):
        loss.backward()


def test_fused_losses_give_hidden_states_and_weights(torch: Any) -> None:
    layer, x, k = made(torch, "bfloat16")

    with pytest.raises(BadLoss, match=r"\d+ of 32 rows \(row 3, class") as raised:
        watch(torch.tensor(float("nan")), hidden=poisoned(x), weight=layer.weight, labels=k, step=1)

    with np.load(str(raised.value.path)) as file:
        assert file["logits"].dtype.itemsize == 2


@pytest.mark.parametrize("is_compiled", [False, True])
def test_of_a_fused_loss_only_rows_that_can_be_to_blame_are_made(
    torch: Any, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x, k = made(torch)
    read = []
    from xentcli.bridge.torch import _Rows

    class Counted(_Rows):
        def __getitem__(self, rows: slice) -> Any:
            read.append(len(range(32)[rows]))
            return super().__getitem__(rows)

    monkeypatch.setattr("xentcli.bridge.torch._Rows", Counted)

    def step(x: Any, k: Any) -> Any:
        return watch(x.sum() * 0 + 1.0, hidden=x, weight=layer.weight, labels=k, step=812)

    step = torch.compile(step, fullgraph=True) if is_compiled else step
    assert step(x, k) == 1
    k[20] = 10
    with pytest.raises(BadLoss, match=r"label-out-of-range in 1 of 9 rows looked at \(row 20, label 10\)"):
        step(x, k)
    assert max(read) == 9


@pytest.mark.parametrize("options", [{}, {"gradient": True}, {"previous": True}])
def test_nothing_of_a_good_step_is_kept_alive(torch: Any, options: dict[str, Any]) -> None:
    layer, x, k = made(torch)
    logits = layer(x)
    alive = weakref.ref(logits), weakref.ref(logits.untyped_storage())
    loss = watch(torch.nn.functional.cross_entropy(logits, k), logits, k, **options)
    gc.disable()
    try:
        loss.backward()
        assert alive[0]() is not None
        del logits, loss
        assert alive[0]() is None
    finally:
        gc.enable()


def test_soft_labels_of_the_last_good_step_are_kept_as_rows(torch: Any) -> None:
    layer, x, _ = made(torch)
    y = torch.softmax(layer(x), 1).detach()
    criterion = Watched(lambda logits, _: logits.sum() * 0 + 1, previous=True)
    with pytest.raises(BadLoss) as raised:  # noqa: PT012 - the second
        for each in (x, poisoned(x)):
            criterion(layer(each), y)

    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["previous_labels"], y.numpy())


def test_rows_that_do_not_follow_each_other_are_read_where_they_are(torch: Any) -> None:
    x = torch.randn(3, 5, 7)
    x[2, 4, 6] = float("inf")

    with pytest.raises(BadLoss, match=r"infinite-logit in 1 of 12 rows \(row 11, class 6\)") as raised:
        watch(torch.tensor(float("nan")), x[:, 1:], torch.zeros(3, 4, dtype=torch.int64), keep="all")

    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["logits"], x[:, 1:].reshape(12, 7).numpy())


@pytest.mark.parametrize("is_soft", [False, True])
def test_classes_are_on_the_second_axis_as_torch_has_them(torch: Any, is_soft: bool) -> None:
    x, k = torch.randn(2, 4, 4), torch.randint(0, 4, (2, 4))
    x[1, 3, 2] = float("inf")
    y = torch.softmax(torch.randn(2, 4, 4), 1) if is_soft else k

    with pytest.raises(BadLoss, match=r"infinite-logit in 1 of 8 rows \(row 6, class 3\)"):
        watch(torch.nn.functional.cross_entropy(x, y), x, y)


def test_binary_criteria_are_watched(torch: Any) -> None:
    criterion = Watched(torch.nn.BCEWithLogitsLoss())
    x, y = torch.randn(32), torch.ones(32)

    assert torch.isfinite(criterion(x, y))
    x[3] = float("nan")
    with pytest.raises(BadLoss, match=r"loss is nan: nan-logit in 1 of 32 rows \(row 3\)"):
        criterion(x, y)


@pytest.mark.parametrize("library", ["jax", "tensorflow"])
@pytest.mark.parametrize("is_traced", [False, True])
def test_a_watched_criterion_looks_at_the_gradient_in_jax_and_tensorflow(
    library: str, is_traced: bool
) -> None:
    module = pytest.importorskip(library, reason=_INSTALLED)
    x, k = np.zeros((32, 10), np.float32), np.arange(32) % 10
    x[3] = 1

    if library == "jax":
        # The gradient of log is infinite at 0, and 0 times that is nan: of all rows but the fourth.
        criterion = Watched(
            lambda x, _: 1 + module.numpy.where(x > 0, module.numpy.log(x), 0.0).mean(), gradient=True
        )
        step = module.grad(criterion)
        step = module.jit(step) if is_traced else step
        given = module.numpy.asarray(x), module.numpy.asarray(k)
    else:
        criterion = Watched(
            lambda x, _: 1 + module.reduce_mean(module.where(x > 0, module.math.log(x), 0.0)), gradient=True
        )

        def step(x: Any, k: Any) -> Any:
            with module.GradientTape() as tape:
                tape.watch(x)
                loss = criterion(x, k)
            return tape.gradient(loss, x)

        step = module.function(step) if is_traced else step
        given = module.constant(x), module.constant(k)

    good = step(given[0] + 1, given[1])
    assert np.isfinite(np.asarray(good)).all()
    said = r"gradient of the logits is not finite: nan-gradient in 31 of 32 rows \(row 0\); saved"
    with pytest.raises(Exception, match=said):  # noqa: PT012 - effects come later
        step(*given)
        if library == "jax":
            module.effects_barrier()


@pytest.mark.parametrize("library", ["jax", "tensorflow"])
def test_skipping_is_refused_where_a_gradient_is_traced(library: str) -> None:
    module = pytest.importorskip(library, reason=_INSTALLED)
    x, k = np.zeros((4, 3), np.float32), np.zeros(4, np.int32)
    trace = module.jit if library == "jax" else module.function

    with pytest.raises(XentError, match="on='skip' needs eager code"):
        trace(lambda x: watch(x.mean() if library == "jax" else module.reduce_mean(x), x, k, on="skip"))(x)


@pytest.mark.parametrize("library", ["jax", "tensorflow"])
def test_hidden_states_in_jax_and_tensorflow(library: str) -> None:
    module = pytest.importorskip(library, reason=_INSTALLED)
    hidden, weight = np.ones((32, 4), np.float32), np.ones((10, 4), np.float32)
    hidden[3] = np.inf
    k = np.zeros(32, np.int32)
    trace = module.jit if library == "jax" else module.function

    with pytest.raises(Exception, match=r"infinite-logit in 1 of 8 rows looked at \(row 3, class \d\)"):  # noqa: PT012 - effects come later
        trace(
            lambda h, w: watch(
                h.sum() if library == "jax" else module.reduce_sum(h), hidden=h, weight=w, labels=k
            )
        )(hidden, weight)
        if library == "jax":
            module.effects_barrier()


def test_rows_of_the_last_good_step_are_kept_when_asked_for(torch: Any) -> None:
    layer, x, k = made(torch)
    step = step_of(torch, layer, previous=True)
    step(x, k, 811)

    with pytest.raises(BadLoss, match=r"the last good loss was .* at step 811") as raised:
        step(x * float("nan"), k, 812)

    with np.load(str(raised.value.path)) as file:
        assert np.array_equal(file["previous_logits"], layer(x).detach().numpy())
        assert np.array_equal(file["previous_labels"], k.numpy())
        assert json.loads(str(file["meta"]))["previous_step"] == 811


RANK = """
    import os, sys, time
    import torch
    import torch.distributed as dist
    from xentcli import BadLoss, watch
    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(16, 10))
    torch.manual_seed(0)
    x, k = torch.randn(32, 16), torch.randint(0, 10, (32,))
    group = dist.group.WORLD
    for step in range(4):
        is_bad = (torch.arange(32)[:, None] == 3) & (step == 2) & (rank == 1)
        logits = model(torch.where(is_bad, float("inf"), x))
        loss = torch.nn.functional.cross_entropy(logits, k)
        options = {"gradient": True} if sys.argv[3] == "gradient" else {"on": sys.argv[3]}
        try:
            if sys.argv[3] == "gradient":  # good where a nan is not taken, whose gradient is nan all the same
                is_guarded = (step == 2) & (rank == 1)
                logits = model(x)
                loss = torch.nn.functional.cross_entropy(logits, k)
                if is_guarded:
                    loss = loss + torch.where(logits > 1e6, torch.sqrt(logits - 1e6), 0.0).sum()
            loss = watch(loss, logits, k, step=step, group=group, **options)
            loss.backward()
            continue
        except BadLoss as bad:
            print(bad, file=sys.stderr, flush=True)
            os._exit(1)  # torch's threads now and then abort a process that ends by itself, watched or not
    print("went on", flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("on", ["raise", "skip", "gradient"])
def test_two_ranks_of_which_one_is_bad_end_together(torch: Any, tmp_path: Path, on: str) -> None:
    assert torch.distributed.is_available()
    script = tmp_path / "rank.py"
    script.write_text(textwrap.dedent(RANK), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", script, str(rank), str(tmp_path / "meet"), on],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        ended = []
        for process in ranks:
            out, err = process.communicate(timeout=120)
            ended.append((process.returncode, out, err, time.monotonic()))
    finally:
        for process in ranks:
            process.kill()

    if on == "gradient":
        assert [code for code, *_ in ended] == [1, 1]
        assert "step 2, rank 0: the gradient is bad on rank 1, whose message says why" in ended[0][2]
        assert "but its gradient is not finite: nan-gradient in 32 of 32 rows" in ended[1][2]
    elif on == "raise":
        assert [code for code, *_ in ended] == [1, 1]
        assert "step 2, rank 0: the loss is bad on rank 1, whose message says why" in ended[0][2]
        assert "step 2, rank 1: loss is nan" in ended[1][2] or "step 2, rank 1: loss is inf" in ended[1][2]
        assert "saved xent-000002-r1.npz" in ended[1][2]
    else:
        assert [(code, out) for code, out, *_ in ended] == [(0, "went on\n"), (0, "went on\n")]


@pytest.mark.parametrize("mode", ["eager", "jit", "grad", "jit of grad"])
def test_jax_raises_eager_and_traced(mode: str) -> None:
    jax = pytest.importorskip("jax", reason=_INSTALLED)
    optax = pytest.importorskip("optax", reason=_INSTALLED)
    x = np.random.default_rng(0).normal(size=(32, 10)).astype(np.float32)
    k = np.arange(32) % 10

    def loss(x: Any, k: Any, number: Any) -> Any:
        losses = optax.softmax_cross_entropy_with_integer_labels(x, k)
        return watch(losses.mean(), x, k, step=number, context={"ids": k})

    grad = jax.grad(loss)
    step = {"eager": loss, "jit": jax.jit(loss), "grad": grad, "jit of grad": jax.jit(grad)}[mode]
    good = jax.block_until_ready(step(jax.numpy.asarray(x), k, 811))
    x[3, 5] = np.inf

    assert np.isfinite(np.asarray(good)).all()
    kind = Exception if "jit" in mode else BadLoss
    with pytest.raises(kind, match=r"step 812: loss is (nan|inf): infinite-logit in 1 of 32 rows"):  # noqa: PT012 - effects come later
        jax.block_until_ready(step(jax.numpy.asarray(x), k, 812))
        jax.effects_barrier()
    assert Path("xent-000812.npz").exists()


@pytest.mark.parametrize("is_traced", [False, True])
def test_tensorflow_raises_eager_and_in_a_function(is_traced: bool) -> None:
    tf = pytest.importorskip("tensorflow", reason=_INSTALLED)
    x = np.random.default_rng(0).normal(size=(32, 10)).astype(np.float32)
    k = np.arange(32) % 10

    def step(x: Any, k: Any, number: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(k, x)
            loss = watch(tf.reduce_mean(losses), x, k, step=number)
        return loss, tape.gradient(loss, x)

    step = tf.function(step) if is_traced else step
    _, gradient = step(tf.constant(x), tf.constant(k), tf.constant(811))
    x[3, 5] = np.inf

    assert np.abs(gradient.numpy()).max() > 0
    with pytest.raises(Exception if is_traced else BadLoss, match=WHY):
        step(tf.constant(x), tf.constant(k), tf.constant(812))
    assert Path("xent-000812.npz").exists()


def test_a_watched_criterion_of_torch_is_a_module_and_ignores_what_it_ignores(torch: Any) -> None:
    layer, x, k = made(torch)
    weights = torch.ones(10)
    criterion = Watched(torch.nn.CrossEntropyLoss(weight=weights, ignore_index=4), dir="dumps")

    assert isinstance(criterion, torch.nn.Module)
    assert "criterion.weight" in criterion.state_dict()
    assert torch.isfinite(criterion(layer(x), k))
    with pytest.raises(BadLoss, match=r"empty-mean, all 32 labels are ignored \(4\)"):
        criterion(layer(x), torch.full((32,), 4))


def test_a_watched_function_of_numpy() -> None:
    x, k = np.zeros((3, 2)), np.zeros(3, int)
    criterion = Watched(lambda *_: np.float64("nan"), most=0)

    with pytest.raises(BadLoss, match="loss is nan"):
        criterion(x, k)


@pytest.mark.filterwarnings("ignore")  # of its own
def test_the_trainer_of_hugging_face_is_stopped(torch: Any) -> None:
    transformers = pytest.importorskip("transformers", reason=_INSTALLED)
    pytest.importorskip("accelerate", reason=_INSTALLED)
    from xentcli.bridge.huggingface import watched_loss

    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    data = [{"input_ids": torch.arange(8) + row, "labels": torch.arange(8) + row} for row in range(8)]
    arguments = transformers.TrainingArguments(
        "out", max_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, disable_tqdm=True
    )

    def trained(model: Any) -> None:
        transformers.Trainer(
            model=model, args=arguments, train_dataset=data, compute_loss_func=watched_loss(dir="dumps")
        ).train()

    trained(model)
    with torch.no_grad():
        model.lm_head.weight[7, :] = float("inf")
    with pytest.raises(
        BadLoss, match="loss is nan: nan-logit in every row of 28: the fault lies before the loss"
    ):
        trained(model)
    assert list(Path("dumps").iterdir()) == [Path("dumps/xent.npz")]


@pytest.mark.filterwarnings("ignore")  # of its own
def test_lightning_is_stopped(torch: Any) -> None:
    lightning = pytest.importorskip("lightning", reason=_INSTALLED)
    layer, x, k = made(torch)

    class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.loss = layer, Watched(torch.nn.CrossEntropyLoss(), dir="dumps")

        def training_step(self, batch: Any, _: int) -> Any:
            return self.loss(self.layer(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def trained(x: Any) -> None:
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, k), batch_size=32)
        lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Model(), data)

    trained(x)
    with pytest.raises(BadLoss, match=r"loss is nan: infinite-logit in 1 of 32 rows \(row 3, class 5\)"):
        trained(poisoned(x))


@pytest.mark.filterwarnings("ignore")  # of its own
def test_keras_is_stopped() -> None:
    keras = pytest.importorskip("keras", reason=_INSTALLED)
    from xentcli.bridge.keras import watched_loss

    x, k = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32), np.arange(32) % 10
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=watched_loss(loss, dir="dumps"))

    model.fit(x, k, verbose=0)
    x[3] = np.nan
    with pytest.raises(Exception, match=r"loss is nan: nan-logit in 1 of 32 rows \(row \d+, class 0\)"):
        model.fit(x, k, verbose=0)
    assert Path("dumps/xent.npz").exists()


@pytest.mark.filterwarnings("ignore")  # of its own
def test_weights_of_samples_count_in_keras_as_without_it() -> None:
    keras = pytest.importorskip("keras", reason=_INSTALLED)
    from xentcli.bridge.keras import watched_loss

    x, k = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32), np.arange(32) % 10

    def trained(loss: Any) -> Any:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)])
        model.compile(optimizer="sgd", loss=loss)
        model.fit(x, k, verbose=0, sample_weight=np.arange(32.0), shuffle=False)
        return model.get_weights()[0]

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert np.array_equal(trained(watched_loss(loss)), trained(loss))


def test_a_gradient_that_is_good_is_good_under_vmap() -> None:
    jax = pytest.importorskip("jax", reason=_INSTALLED)
    criterion = Watched(lambda x, k: jax.nn.logsumexp(x) - x[k], gradient=True)
    found = jax.vmap(jax.grad(criterion))(jax.numpy.ones((4, 3)), jax.numpy.arange(4) % 3)
    jax.effects_barrier()
    assert np.isfinite(np.asarray(found)).all()


def test_shapes_of_a_graph_may_be_unknown_and_bfloat16_is_read() -> None:
    tf = pytest.importorskip("tensorflow", reason=_INSTALLED)
    signature = [tf.TensorSpec((None, None), tf.bfloat16), tf.TensorSpec((4,), tf.int32)]
    step = tf.function(lambda x, k: watch(tf.reduce_mean(x), x, k), input_signature=signature)
    x, k = np.ones((4, 3)), tf.range(4) % 3
    assert step(tf.constant(x, tf.bfloat16), k) == 1
    x[2, 1] = np.inf
    with pytest.raises(Exception, match=r"loss is inf: infinite-logit in 1 of 4 rows \(row 2, class 1\)"):
        step(tf.constant(x, tf.bfloat16), k)
