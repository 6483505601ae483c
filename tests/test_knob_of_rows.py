"""A temperature, a softcap or a z-loss between recorded losses, or a mean, and the true losses is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from test_answer import answer

N, C = 40, 12
EPS = 2.0**-23  # of float32, in which losses are recorded
OTHERS = "the dump has them as they were before"


def log_sum(x: Any) -> Any:
    return np.logaddexp.reduce(x, axis=1)


def losses(x: Any, y: Any) -> Any:
    """Return the losses by the definition; no difference here is large enough to lose digits that count."""
    return log_sum(x) - (x[np.arange(len(x)), y] if y.ndim == 1 else (x * y).sum(axis=1))


KNOBS = {
    "temperature": lambda x, y, value: losses(x / value, y),
    "softcap": lambda x, y, value: losses(value * np.tanh(x / value), y),
    "z_loss": lambda x, y, value: losses(x, y) + value * log_sum(x) ** 2,
    "label_smoothing": lambda x, y, value: (1 - value) * losses(x, y) + value * (log_sum(x) - x.mean(axis=1)),
}
DEFINED = {
    "temperature": "that of the logits over a temperature of {}",
    "softcap": "that of the logits after a softcap of {}",
    "z_loss": "the true one plus a z-loss of {} (log Σ exp x)²",
    "label_smoothing": "that of labels smoothed by {}",
}


def rows(scale: float = 8.0, soft: bool = False, number: int = N) -> tuple[Any, Any]:
    """Return logits (N, C), float32, and labels, of which no two rows are alike."""
    random = np.random.default_rng(7)
    x = random.normal(scale=scale, size=(number, C)).astype(np.float32)
    return x, random.dirichlet(np.ones(C), number) if soft else random.integers(0, C, number)


def diagnosed(xent: Xent, folder: Path, x: Any, y: Any, given: Any = None, *options: str) -> Any:
    arrays = {"logits": x, "labels": y} | ({} if given is None else {"losses": np.asarray(given, np.float32)})
    np.savez(folder / "x.npz", **arrays)
    own = () if given is None else ("--losses-name", "losses")
    return xent("diagnose", folder / "x.npz", *own, *options)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.7),
        ("temperature", 0.0375),
        ("temperature", 4.25),
        ("softcap", 30.0),
        ("softcap", 7.625),
        ("z_loss", 1e-4),
        ("z_loss", 0.00325),
    ],
)
def test_one_number_that_explains_every_row_is_named(
    xent: Xent, tmp_path: Path, name: str, value: float, soft: bool
) -> None:
    x, y = rows(soft=soft)

    run = diagnosed(xent, tmp_path, x, y, KNOBS[name](x.astype(np.float64), y, value))

    assert run.code == 1
    assert answer(run).startswith(f"In every row the recorded loss is {DEFINED[name].format(f'{value:g}')}: ")


def test_ignored_rows_and_masks_say_nothing(xent: Xent, tmp_path: Path) -> None:
    x, y = rows()
    x[::3, 0], y[::3] = -np.inf, np.maximum(y[::3], 1)
    given = KNOBS["temperature"](x.astype(np.float64), y, 0.7)
    given[5:9], y[5:9] = 99.0, -100

    run = diagnosed(xent, tmp_path, x, y, given)

    assert answer(run).startswith(
        "In every row the recorded loss is that of the logits over a temperature of 0.7"
    )


def test_of_many_rows_some_are_looked_at(xent: Xent, tmp_path: Path) -> None:
    x, y = rows(number=1000)

    run = diagnosed(xent, tmp_path, x, y, KNOBS["softcap"](x.astype(np.float64), y, 20.0), "--format", "json")

    relation = json.loads(run.out)["response"]["relation"]
    assert (relation["kind"], relation["value"], relation["looked_at"]) == ("softcap", 20.0, 256)
    assert answer(
        diagnosed(xent, tmp_path, x, y, KNOBS["softcap"](x.astype(np.float64), y, 20.0))
    ).startswith("In each of 256 rows that were looked at, the recorded loss is that of the logits after a")


@pytest.mark.parametrize(("epsilons", "is_named"), [(8, True), (512, False)])
def test_a_row_may_be_off_by_its_rounding_and_no_more(
    xent: Xent, tmp_path: Path, epsilons: int, is_named: bool
) -> None:
    """32 epsilons of the largest number of a row are rounding; here that is below 32, so that 512 are not."""
    x, y = rows(scale=4.0)
    given = KNOBS["temperature"](x.astype(np.float64), y, 0.7)
    given[11] += epsilons * EPS * np.abs(x[11]).max()

    run = diagnosed(xent, tmp_path, x, y, given)

    assert ("a temperature of 0.7" in answer(run)) == is_named


@pytest.mark.parametrize("seed", range(4))
def test_what_no_knob_explains_is_not_explained_by_one(xent: Xent, tmp_path: Path, seed: int) -> None:
    x, y = rows()
    wide = x.astype(np.float64)
    both = KNOBS["temperature"](30 * np.tanh(wide / 30), y, 0.7)  # two at once
    noise = losses(wide, y) * np.random.default_rng(seed).uniform(0.5, 2, N)

    for given in (both, noise):
        assert "off by more than 1 %" in answer(diagnosed(xent, tmp_path, x, y, given))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.7),
        ("softcap", 30.0),
        ("z_loss", 1e-4),
        ("label_smoothing", 0.1),
    ],
)
def test_of_a_mean_the_numbers_in_use_are_tried(xent: Xent, tmp_path: Path, name: str, value: float) -> None:
    x, y = rows()
    mean = float(KNOBS[name](x.astype(np.float64), y, value).mean())

    run = diagnosed(xent, tmp_path, x, y, None, "--observed", f"{mean:.5f}")
    few = diagnosed(xent, tmp_path, x, y, None, "--observed", f"{mean:.1f}")

    assert run.code == 1
    assert f"It would be {DEFINED[name].format(f'{value:g}')}: " in answer(run)
    assert "It would be" not in answer(few)


def test_a_mean_that_nothing_in_use_gives_is_not_explained(xent: Xent, tmp_path: Path) -> None:
    x, y = rows()

    run = diagnosed(xent, tmp_path, x, y, None, "--observed", "12.34567")

    assert "Another step, weights, smoothing or another formula gave it." in answer(run)
