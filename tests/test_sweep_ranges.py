"""xent sweep: held quantities, the widest and the narrowest ranges, many classes, odd losses."""

from pathlib import Path

import mpmath
import pytest
from conftest import Xent, sweep_document

from xentcli.show import table
from xentcli.show.screen import Screen
from xentcli.show.sheet import Cell, Lines


def test_a_gap_is_scaled_where_a_scale_is_held(xent: Xent) -> None:
    plain = sweep_document(xent, "--gap", "0:20", "--methods", "dense", "--points", "11")
    scaled = sweep_document(xent, "--gap", "0:5", "--scale", "4", "--methods", "dense", "--points", "11")

    zeros = [
        b["first"] for told in (plain, scaled) for b in told["curves"][0]["breakdowns"] if b["state"] == "0"
    ]
    assert zeros == [16.635532, 4.158883]  # 4 times it is exact: 4 is a power of two


def test_the_same_example_is_the_same_whichever_quantity_is_varied(xent: Xent) -> None:
    held = {"--gap": "3", "--offset": "5", "--scale": "4"}  # each is at its number in the last point
    losses = []
    for name, high in held.items():
        others = [word for other, value in held.items() if other != name for word in (other, value)]
        told = sweep_document(xent, name, f"1:{high}", *others, "--methods", "unshifted", "--points", "2")
        losses.append(told["curves"][0]["exact"][-1])

    assert losses == [6.1441933e-06] * 3  # log1p(exp(-12)), rounded to float32


def test_a_label_of_a_lower_rank_keeps_it_while_the_gap_is_varied(xent: Xent) -> None:
    arguments = ("--gap", "1:2", "--label-rank", "3", "--classes", "5", "--points", "2", "--methods", "dense")
    (curve,) = sweep_document(xent, *arguments)["curves"]

    truths = [mpmath.log(mpmath.nsum(lambda k, g=g: mpmath.exp(-g * k), [0, 4])) + 2 * g for g in (1, 2)]
    assert curve["exact"] == pytest.approx([float(truth) for truth in truths], rel=2**-24)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gap", "0:1e-50"), "--gap 0.0:1e-50: both ends are the same float32; give a wider range\n"),
        (
            ("--gap", "5:5.0000001"),
            "--gap 5.0:5.0000001: both ends are the same float32; give a wider range\n",
        ),
        (("--gap", "0:1", "--scale", "nan"), "--scale nan: give a finite number\n"),
        (("--gap", "0:1", "--offset", "inf"), "--offset inf: give a finite number\n"),
    ],
)
def test_a_range_of_one_number_and_a_number_that_is_none_are_refused(
    xent: Xent, arguments: tuple[str, ...], message: str
) -> None:
    done = xent("sweep", *arguments)

    assert (done.code, done.err) == (2, message)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--smoothing", "1e-320:1", "--spacing", "log"),
        pytest.param(("--gap", "-1.7e308:1.7e308", "--dtype", "float64"), marks=pytest.mark.slow),
        pytest.param(("--scale", "5e-324:1.7e308", "--dtype", "float64"), marks=pytest.mark.slow),
    ],
)
def test_the_widest_ranges_are_drawn(xent: Xent, arguments: tuple[str, ...]) -> None:
    done = xent("sweep", *arguments, "--points", "9", "--methods", "log1p")

    assert (done.code, done.err) == (0, "")
    assert "log1p is right throughout." in done.out


def test_numbers_that_were_given_are_not_cut(xent: Xent) -> None:
    out = xent("sweep", "--offset", "1:16777217", "--gap", "3.14159265", "--format", "plain").out

    assert "gap 3.14159265 ·" in " ".join(out.split())
    assert "from 1 to 16777217.0," in " ".join(out.split())


@pytest.mark.slow
def test_of_many_classes_not_every_number_is_tried(xent: Xent) -> None:
    arguments = ("--dtype", "bfloat16", "--methods", "sparse", "--points", "3")
    told = [sweep_document(xent, "--gap", "1:2", "--classes", str(n), *arguments) for n in (2**13, 2**13 + 1)]

    assert [each["curves"][0]["exhaustive"] for each in told] == [True, False]  # 128 values each


def test_a_loss_of_whole_numbers_has_no_losses_and_a_float_is_a_float64(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "import numpy as np\n"
        "def whole(x, y): return np.full(len(x), 3)\n"
        "def one(x, y): return float(np.log1p(np.exp(x[:, 1] - x[:, 0])).mean())\n"
    )
    (curve,) = sweep_document(xent, "--gap", "0:5", "--points", "3", "--methods", f"{path}:whole,{path}:one")[
        "curves"
    ]

    whole, one = curve["methods"]
    assert whole["failure"].startswith("returned numbers of dtype int64; expected ")
    assert (one["dtype"], set(one["states"])) == ("float64", {"right"})


def test_a_scale_of_0_makes_an_infinite_logit_nan_without_a_warning(xent: Xent) -> None:
    (curve,) = sweep_document(xent, "masked-class", "--scale=-1:1", "--points", "3", "--methods", "sparse")[
        "curves"
    ]

    assert curve["values"] == [-1, 0, 1]
    assert curve["exact"][1] == "nan"


def test_a_loss_that_raises_is_told_with_what_it_raised(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def loss(x, y):\n    raise ValueError('not today')\n", encoding="utf-8")

    sentence = " ".join(
        xent("sweep", "--points", "3", "--methods", f"{path}:loss").out.partition("\n\n")[0].split()
    )

    assert "loss gives no loss: raised ValueError: not today" in sentence


def test_an_ascii_terminal_has_an_ascii_plot() -> None:
    text = table.render([Lines(((Cell("┤└─│·∇"),),))], Screen(is_terminal=True, unicode=False))

    assert text.isascii()
