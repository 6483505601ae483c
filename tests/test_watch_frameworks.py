"""``watch`` in JAX and TensorFlow, eager and traced, and in trainers of Hugging Face, Lightning and Keras.

Marked ``frameworks``: .ci/run installs them into an environment of their own and runs these there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_watch import in_a_folder  # noqa: F401 - a fixture of all tests here
from test_watch_torch import (
    _INSTALLED,
    WHY,
    made,
    poisoned,
    pytestmark,  # noqa: F401 - marks all tests here
    torch_library,  # noqa: F401 - a fixture
)

from xentcli.bridge.options import BadLoss
from xentcli.bridge.watch import watch
from xentcli.bridge.watched import Watched
from xentcli.errors import XentError


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
