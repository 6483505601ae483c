"""The blog's 72 printed numbers, as text, character for character."""

import json

import numpy as np
import pytest
from conftest import CASES, Xent

from xentcli import load, run
from xentcli.judge import Result
from xentcli.load import sources


def result_of(name: str) -> Result:
    """Run one of the blog's cases through the pipeline."""
    (case,) = load.load_all(sources.read_all([str(CASES / f"{name}.yaml")])[0])
    return run.evaluate(case)


# The text of the blog, typed off the page and not read from the case files.
ARRAYS = [
    ("normal-3x3", "dense", "[0.6657319 1.4657319 0.8283902]"),
    ("normal-3x3", "sparse", "[0.6657319 1.4657319 0.8283902]"),
    (
        "normal-3x3",
        "softmax",
        (
            "[[0.25519383 0.23090893 0.51389724]\n"
            " [0.25519383 0.23090893 0.51389724]\n"
            " [0.4367518  0.3235537  0.23969449]]"
        ),
    ),
    ("normal-3x3", "class_indices", "[2 1 0]"),
    (
        "normal-10class",
        "softmax",
        (
            "[[0.09775153 0.10184532 0.10208829 0.0985443  0.09175218 0.10402172\n"
            "  0.10551486 0.09878179 0.10147586 0.09822416]\n"
            " [0.09767619 0.10240721 0.09688035 0.09931276 0.09407537 0.10758881\n"
            "  0.10283026 0.09836569 0.10210507 0.09875835]]"
        ),
    ),
    (
        "abnormal",
        "softmax",
        "[[0. 0. 0. 0. 0. 1. 0. 0. 0. 0.]\n [0. 0. 0. 0. 0. 1. 0. 0. 0. 0.]]",
    ),
]
SCALARS = [
    ("normal-10class", "naive", "2.3614712"),
    ("normal-10class", "dense", "2.3614712"),
    ("normal-10class", "sparse", "2.3614712"),
    ("normal-10class", "softmax_sum", "1.0"),
    ("normal-10class", "softmax_matches", "20.0"),
    ("abnormal", "naive", "nan"),
    ("abnormal", "clipped", "82.89307"),
    ("abnormal", "dense", "6.72853e+30"),
    ("abnormal", "sparse", "6.72853e+30"),
    ("abnormal", "softmax_sum", "1.0"),
    ("abnormal", "softmax_matches", "20.0"),
]
BY_HAND = ["0.6657319553780278", "1.4657318873121323", "0.8283901795553891"]


@pytest.mark.parametrize(("name", "quantity", "printed"), ARRAYS)
def test_an_array_prints_as_numpy_printed_it(name: str, quantity: str, printed: str) -> None:
    result = result_of(name)
    check = next(check for check in result.comparisons if check.expectation.quantity == quantity)

    values = np.array(check.values, check.dtype).reshape(check.expectation.shape)

    with np.printoptions(precision=8, linewidth=75):
        assert str(values) == printed


@pytest.mark.parametrize(("name", "quantity", "printed"), SCALARS)
def test_a_scalar_prints_as_the_shortest_float32(name: str, quantity: str, printed: str) -> None:
    check = next(check for check in result_of(name).comparisons if check.expectation.quantity == quantity)

    assert str(np.dtype(check.dtype).type(check.values[0])) == printed


def test_the_losses_by_hand_print_as_python_floats() -> None:
    outcome = next(o for o in result_of("normal-3x3").outcomes if o.method == "by_hand")

    assert list(map(repr, outcome.losses)) == BY_HAND


def test_the_texts_above_are_all_72_numbers() -> None:
    count = len(SCALARS) + len(BY_HAND) + sum(len(printed.split()) for _, _, printed in ARRAYS)

    assert count == 72


def test_the_three_cases_reproduce_72_of_72(xent: Xent) -> None:
    files = [CASES / f"{name}.yaml" for name in ("normal-3x3", "normal-10class", "abnormal")]

    done = xent("run", *files, "--format", "json")

    assert done.code == 0
    assert json.loads(done.out)["summary"] == {"cases": 3, "numbers": 72, "reproduced": 72}
    assert done.err == "72 of 72 printed numbers reproduced\n"
