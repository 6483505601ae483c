"""xent check on losses that take knobs, or the count of a whole batch."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import first
from losses import knobbed

from xentcli.check.report import Report
from xentcli.check.run import Options, check, deadline
from xentcli.frameworks.conventions import COUNT, find_convention
from xentcli.frameworks.function import LossFunction
from xentcli.methods.steps import NAMES
from xentcli.words import Z_LOSS

OWN = ("knobs", "options", "blog")


def report(loss: Callable[..., Any], reduction: str | None = None, **options: Any) -> Report:
    gradient = getattr(loss, "gradient", None)
    subject = LossFunction.build(loss, gradient, find_convention("numpy", "", reduction))
    return check(subject, Options(**options), "loss", deadline(60))


def failing(found: Report) -> dict[str, set[str]]:
    return {
        each.name: {finding.name for finding in each.findings}
        for each in found.checks
        if each.status not in {"passed", "skipped"}
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", knobbed.RIGHT)
def test_a_right_loss_with_every_knob_passes(name: str) -> None:
    found = report(knobbed.RIGHT[name], only=OWN)

    assert failing(found) == {}
    names = {each.name for each in found.checks}
    assert {
        "knobs-that-are-off",
        "single-knobs",
        "knobs-together",
        "knobs-at-tile-edges",
        "masks-with-knobs",
        "knobs-in-half-precision",
        "softcap-before-scale",
        "temperature-on-logprobs",
        "z-loss-square-of-mean",
    } <= names


@pytest.mark.slow
@pytest.mark.parametrize("name", knobbed.RIGHT)
def test_a_right_loss_with_every_knob_passes_all_checks(name: str) -> None:
    assert failing(report(knobbed.RIGHT[name])) == {}


@pytest.mark.parametrize(
    ("loss", "name", "kind", "cause"),
    first(
        1,
        [
            (knobbed.SoftcapLeftOut, "single-knobs", "off", "softcap-left-out"),
            (knobbed.SoftcapTimesLogit, "single-knobs", "off", "softcap-times-logit"),
            (knobbed.SoftcapFirst, "knobs-together", "off", "softcap-first"),
            (knobbed.SoftcapLast, "knobs-together", "off", None),
            (knobbed.SoftcapOfLanes, "knobs-at-tile-edges", "off", None),
            (knobbed.TemperatureLate, "single-knobs", "off", "temperature-late"),
            (knobbed.TemperatureMultiplies, "single-knobs", "off", None),
            (knobbed.ZLossOfZeroIsADefault, "knobs-that-are-off", "off", None),
            (knobbed.ScaleIgnored, "single-knobs", "off", None),
            (knobbed.ZLossLeftOut, "single-knobs", "off", "z-loss-left-out"),
            (knobbed.ZLossWithoutTheSquare, "single-knobs", "off", None),
            (knobbed.ZLossOfLogits, "knobs-together", "off", None),
            (knobbed.ZLossOfIgnored, "knobs-together", "off", None),
            (knobbed.ZLossOfMean, "single-knobs", "mean", None),
            (knobbed.CapHasNoSlope, "single-knobs", "gradient wrong", None),
            (knobbed.TemperatureHasNoSlope, "single-knobs", "gradient wrong", None),
            (knobbed.ZLossIsHalved, "single-knobs", "gradient wrong", None),
        ],
    ),
)
def test_a_wrong_knob_is_caught_and_named(
    loss: Callable[[], Any], name: str, kind: str, cause: str | None
) -> None:
    found = report(loss(), only=["knobs"])

    assert kind in failing(found)[name]
    assert cause is None or found.causes[0].name == cause


@pytest.mark.parametrize(("epsilons", "right"), [(0, True), (2, True), (32, False)])
def test_of_a_cap_a_few_epsilons_are_rounding_and_more_are_not(epsilons: float, right: bool) -> None:
    """5 are allowed, besides 4 ulps of the loss; the largest logits move it by up to 2 × as much."""
    found = report(knobbed.InFloat32(epsilons), only=["single-knobs"], dtypes=["float32"])

    assert (failing(found) == {}) == right


@pytest.mark.parametrize(
    ("loss", "right"),
    [(knobbed.counted, True), (knobbed.counted_twice, False), (knobbed.count_ignored, False)],
)
def test_parts_with_the_count_of_the_whole_batch_add_up_to_its_mean(
    loss: Callable[..., Any], right: bool
) -> None:
    found = report(loss, "mean", only=["parts-of-a-batch", "nothing-counts"])

    assert failing(found) == ({} if right else {"parts-of-a-batch": {"mean"}})
    assert [each.name for each in found.causes] == ([] if right else ["not-by-the-count"])


def test_a_loss_without_knobs_has_no_such_check() -> None:
    def loss(logits: Any, labels: Any) -> Any:
        return knobbed.RIGHT["plain"](logits, labels)

    names = {each.name for each in report(loss, only=["blog"]).checks}

    assert not {name for name in names if "knob" in name}


def test_every_name_is_a_parameter_of_a_convention_of_ones_own(tmp_path: Any) -> None:
    path = tmp_path / "mine.toml"
    theirs = [f'{name} = "their_{name}"' for name in (*NAMES, Z_LOSS, COUNT)]
    path.write_text(f'library = "numpy"\nparameters = {{{", ".join(theirs)}}}\n', encoding="utf-8")

    assert find_convention(str(path), "").parameter("softcap") == "their_softcap"
