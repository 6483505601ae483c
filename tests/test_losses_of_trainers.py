"""The losses of trainers on the cases that they or others broke: of a whole batch, and of its parts."""

from importlib import metadata
from typing import Any

import numpy as np
import pytest

from xentcli import load_case
from xentcli.model import Case

pytestmark = pytest.mark.frameworks
# One ulp of float32 from 8 to 16: a logit is subtracted from a log-sum-exp, and both are up to 12, or to 30.
_ULP = 2.0**-20


def parts(name: str) -> tuple[Case, list[Any]]:
    """Return a case, and transformers' loss of each of its parts as a function of the count."""
    torch = pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    utils = pytest.importorskip(
        "transformers.loss.loss_utils", reason="is not installed; .ci/run tests with it"
    )
    case = load_case(name)
    batch = case.batch
    assert batch.parts is not None
    assert batch.class_labels is not None
    x, k = torch.tensor(batch.logits.copy()), torch.tensor(batch.class_labels.copy())

    def loss_of(rows: slice) -> Any:
        def loss(count: int | None) -> float:
            return float(
                utils.ForCausalLMLoss(
                    x[rows][None], None, x.shape[1], num_items_in_batch=count, shift_labels=k[rows][None]
                )
            )

        return loss

    return case, [loss_of(rows) for rows in batch.parts.slices]


def printed(case: Case, method: str) -> float:
    (text,) = next(each.texts for each in case.expectations if each.quantity == method)
    return float(text)


@pytest.mark.parametrize("name", ["mean-of-means", "ignored-in-denominator", "chunk-means-are-summed"])
def test_with_the_count_of_the_whole_batch_the_parts_add_up_to_the_truth(name: str) -> None:
    case, losses = parts(name)
    count = int(case.batch.divisor)

    total = sum(loss(count) for loss in losses)

    # float32 of a few losses, to the seven digits of the case
    assert total == pytest.approx(printed(case, "mean_over_all"), rel=4 * 2.0**-23)


def test_without_it_their_mean_is_the_mean_of_means_and_their_sum_the_sum_of_means() -> None:
    case, losses = parts("mean-of-means")
    chunks, of_chunks = parts("chunk-means-are-summed")

    mean = sum(loss(None) for loss in losses) / len(losses)
    added = sum(loss(None) for loss in of_chunks)

    # of a few losses in float32 each, as above
    assert mean == pytest.approx(printed(case, "mean_of_means"), rel=4 * 2.0**-23)
    assert added == pytest.approx(printed(chunks, "sum_of_means"), rel=4 * 2.0**-23)


@pytest.mark.parametrize(
    ("package", "version"), [("transformers", "5.24"), ("trl", "1.16"), ("liger_kernel", "0.8")]
)
def test_this_was_seen_with_the_version_that_is_installed(package: str, version: str) -> None:
    try:
        installed = metadata.version(package)  # imported, Triton would settle how it runs
    except metadata.PackageNotFoundError:
        pytest.skip("is not installed; .ci/run tests with it")

    assert installed.startswith(f"{version}.")


@pytest.mark.parametrize("classes_at_once", [1, 4])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("softcap-before-scale", "softcap_first"),
        ("softcap-forgotten", "softcap_left_out"),
        ("softcap-multiplies-itself", "softcap_times_logit"),
        ("temperature-on-logprobs", "temperature_late"),
    ],
)
def test_the_loss_of_trl_gives_the_truth(name: str, wrong: str, classes_at_once: int) -> None:
    torch = pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    trl = pytest.importorskip("trl.kernels", reason="is not installed; .ci/run tests with it")
    case = load_case(name)
    x = torch.tensor(case.batch.logits.copy(), dtype=torch.float32)
    k = torch.tensor(np.array(case.batch.class_labels, np.int64))
    knobs = case.batch.knobs

    log_probability, *_ = trl.ChunkedLogProbFunction.apply(  # of x times the identity
        x,
        torch.eye(x.shape[1]),
        None,
        k,
        knobs.value("temperature") or 1.0,
        classes_at_once,
        knobs.value("softcap"),
        knobs.value("scale") or 1.0,
        (),
    )

    (loss,) = (-log_probability).tolist()
    assert abs(loss - printed(case, "log1p")) <= 2 * _ULP < abs(loss - printed(case, wrong))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("z-loss-uninvited", "log1p", "z_loss_left_out"),
        ("z-loss-square-of-mean", "log1p", "z_loss_of_mean"),
        ("ignored-in-denominator", "mean_over_all", "divided_by_all"),
        ("chunk-means-are-summed", "mean_over_all", "sum_of_means"),
        ("smoothing-mass-times-c", "log1p", "smoothing_swapped"),
        ("smoothing-logs-softmax", "dense", "naive"),
    ],
)
def test_the_kernel_of_liger_gives_the_truth(
    monkeypatch: pytest.MonkeyPatch, name: str, right: str, wrong: str
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # on the CPU; a softcap raises there, in Triton 3.9
    liger = pytest.importorskip(
        "liger_kernel.ops.cross_entropy", reason="is not installed; .ci/run tests with it"
    )
    torch = pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    case = load_case(name)
    batch = case.batch
    x = torch.tensor(batch.logits.copy(), dtype=torch.float32)
    k = torch.tensor(np.array(batch.class_labels, np.int64))

    loss, *_ = liger.LigerCrossEntropyFunction.apply(
        x, k, None, -100, batch.knobs.z_loss, batch.weighting.smoothing, "mean", None
    )

    assert abs(float(loss) - printed(case, right)) <= _ULP < abs(float(loss) - printed(case, wrong))
