"""identify: what a loss that does not move means, at the digits that were printed."""

import io
import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import Xent, assert_golden

from xentcli import identify_value
from xentcli.errors import XentError
from xentcli.identify import Candidate, identify
from xentcli.identify.constants import FLOORS
from xentcli.identify.denominators import Run

# A loss as a log prints it, the epsilon or number of classes it comes from, the share of examples


@pytest.mark.parametrize(
    ("typed", "definition", "share"),
    [
        ("103.2789", "2^-149", "1"),
        ("100", "the bound of a clamped log", "1"),
        ("87.3365", "FLT_MIN", "1"),
        ("87.336545", "FLT_MIN", "1"),
        ("82.893", "1e-36", "1"),
        ("82.89307", "1e-36", "1"),
        ("46.0517", "1e-20", "1"),
        ("36.8414", "1e-16", "1"),
        ("36.0437", "2^-52", "1"),
        ("34.5388", "1e-15", "1"),
        ("27.631", "1e-12", "1"),
        ("23.02585", "1e-10", "1"),
        ("18.42068", "1e-8", "1"),
        ("16.118", "1e-7", "1"),
        ("16.118095", "1e-7", "1"),
        ("15.9424", "2^-23", "1"),
        ("15.942385", "2^-23", "1"),
        ("15.42495", "2e-7", "1"),
        ("15.33324", "1e-7 + 2^-23", "1"),
        ("13.8155", "1e-6", "1"),
        ("6.93147", "2^-10", "1"),
        ("0.693147", "ln(2)", "1"),
        ("2.302585", "ln(10)", "1"),
        ("6.907755", "ln(1000)", "1"),
        ("10.3735", "ln(32000)", "1"),
        ("0.313262", "ln(e + 1) - 1", "1"),
        ("0.7437", "ln(e + 3) - 1", "1"),
        ("1.4612", "ln(e + 9) - 1", "1"),
        ("5.9095", "ln(e + 999) - 1", "1"),
        ("8.05904787", "1e-7", "1/2"),
        ("8.634694", "1e-15", "1/4"),
        ("9.010913", "ln(8192)", "1"),  # and 1/4 of -ln(2^-52): what is whole comes first
    ],
)
def test_constants_as_threads_print_them(typed: str, definition: str, share: str) -> None:
    first = identify(typed)[0]

    assert definition in first.constant.definition
    assert first.share == Fraction(share)


@pytest.mark.parametrize(
    "typed", ["3.14159", "1.2345", "16.119", "16.1182", "7.123", "87.3366", "5.01e-3", "99.9"]
)
def test_nothing_is_claimed_when_nothing_fits(xent: Xent, typed: str) -> None:
    assert identify(typed) == ()
    run = xent("identify", typed)
    assert (run.code, run.out) == (1, f"{typed}: nothing known fits these digits.\n")


@pytest.mark.parametrize(
    ("inside", "share", "outside"),
    [
        ("8.059", "1/2", "8.06"),  # half of a likely floor needs four digits
        ("5.3727", "1/3", "5.373"),  # a third needs five
        ("2.0148", "1/8", "1.7909"),  # of one example in nine it would be 1.7909
        ("6.907755", "1", "6.908755"),  # ln 1000 and ln 1001
    ],
)
def test_what_is_rare_is_not_claimed(inside: str, share: str, outside: str) -> None:
    assert identify(inside)[0].share == Fraction(share)
    assert identify(outside) == ()


def test_of_many_means_three_are_shown_the_smallest_batches_first() -> None:
    candidates = identify("5.52620")  # a share of several floors

    assert [candidate.share for candidate in candidates] == [Fraction(1, 5), Fraction(2, 5), Fraction(3, 5)]


# What people type, and every cause it has, the likeliest first


@pytest.mark.parametrize(
    ("typed", "definitions"),
    [
        (
            "0.0",
            ["a nan that the trainer logs as 0", "a sum over no label", "a loss rounded", "of one class"],
        ),
        ("0.6931", ["ln(2), the loss of a logit of 0", "ln(2), DPO with equal models", "ln(2)"]),
        ("9.21", ["ln(10000)", "-ln(1e-4)"]),
        ("9.2103", ["ln(10000)", "-ln(1e-4)"]),
        ("11.51", ["ln(100000)", "ln(100352)", "-ln(1e-5)"]),
        ("11.5129", ["ln(100000)", "-ln(1e-5)"]),
        ("6.907", ["ln(1000)", "ln(999)", "-ln(1e-3)"]),  # cut off, rounded, cut off
        ("13.8155", ["-ln(1e-6)", "ln(1000000)"]),
        ("4.605", ["ln(100)"]),
        ("7.824", ["ln(2500)"]),
        ("10.8249", ["ln(50257)"]),
        ("11.7618", ["ln(128256)"]),
        ("11.931", ["ln(151936)"]),
        ("12.4529", ["ln(256000)"]),
        ("12.4766", ["ln(262144)"]),
        ("11.0903548", ["ln(65536)"]),  # of the thread's 65537 entries it would be 11.0903701
        ("11.0903701", ["ln(65537)"]),
        ("709.78", ["ln of the largest float64"]),
        ("16.6355", ["2^-24, the smallest subnormal float16"]),
        ("744.44", ["2^-1074, the smallest subnormal float64"]),
        ("36.7368", ["2^-53, half an eps of float64"]),
        ("88.7228", ["ln of the largest float32"]),
        ("1.442695", ["1/ln(2): one nat, in bits"]),
        ("3.32193", ["log2(10)"]),
        ("15.61703", ["log2(50257)"]),
        ("-0.87", ["minus a probability", "below 0, where no cross-entropy is"]),
        ("-9.99", ["minus the label's logit", "below 0, where no cross-entropy is"]),
        ("10.3972", ["ln(32768)"]),
        ("0.5003", ["the least loss of 10 classes with label smoothing 0.1"]),
        ("0.3251", ["the binary loss of one-hot labels of 10 classes"]),
        ("1.38629", ["ln(4)", "2 ln(2), a GAN in balance"]),
        ("543.427", ["784 ln(2)"]),
        ("65504", ["the largest float16"]),
    ],
)
def test_every_cause_of_what_people_type(typed: str, definitions: list[str]) -> None:
    found = [candidate.constant.definition for candidate in identify(typed)]

    assert len(found) == len(definitions)
    assert all(expected in one for expected, one in zip(definitions, found, strict=True))


@pytest.mark.parametrize(
    ("typed", "true", "definitions"),
    [
        ("47.88", "11.97", ["4 × 11.97"]),
        ("0.125", "1.0", ["1.0 / 8"]),
        ("1.8078525", "0.9039263", ["2 × 0.9039263"]),
        ("2.7725887", "0.6931472", ["4 × 0.6931472", "0.6931472 + ln(8)"]),
        ("14.32", "9.9258", ["9.9258 × 1/ln(2)"]),
        ("1.3862944", "2", ["2 × ln(2)"]),
        ("3.7842", "1.7048", ["1.7048 + ln(8)"]),
        ("-1.0", "-1.69315", ["-1.69315 + ln(2)"]),
        ("7.3", "3.1", []),
        ("2.302585", "2.302585", ["2.302585", "ln(10)"]),  # no factor: what it is by itself
        ("16.118", "2.3026", ["-ln(1e-7)", "7 × 2.3026"]),
        ("23.026", "2.3026", ["-ln(1e-10)", "10 × 2.3026"]),
        ("1.8421", "2.3026", ["0.8 × 2.3026"]),
        ("1.7269", "2.3026", ["0.75 × 2.3026"]),
        ("-2.3026", "2.3026", ["-2.3026"]),
        ("1.0000", "2.302585", ["2.302585 × 1/ln(10)"]),
        ("2.3026", "0", ["ln(10)"]),
        ("47.9", "11.97", ["4 × 11.97"]),
        ("47.5", "11.97", []),
    ],
)
def test_what_lies_between_a_loss_and_the_true_one(typed: str, true: str, definitions: list[str]) -> None:
    found = [candidate.constant.definition for candidate in identify(typed, true)]

    assert len(found) == len(definitions)
    assert all(expected in one for expected, one in zip(definitions, found, strict=True))


@pytest.mark.parametrize(
    ("typed", "true", "run", "definition", "cause"),
    [
        ("47.88", "11.97", Run(ranks=8), "4 × 11.97", "the losses of groups of 4 of the 8 ranks were added"),
        ("47.88", "11.97", Run(ranks=4), "4 × 11.97", "the losses of all 4 ranks were added"),
        ("47.88", "11.97", Run(accumulation=4), "4 × 11.97", "the means of 4 accumulated steps were added"),
        ("44.0", "11.0", Run(ranks=2, accumulation=2), "4 × 11.0", "2 accumulated steps on 2 ranks"),
        ("0.125", "1.0", Run(ranks=8), "1.0 / 8", "a mean over all 8 ranks was divided by 8 once more"),
        ("0.0625", "1.0", Run(ranks=8, accumulation=2), "1.0 / 16", "on 8 ranks was divided by 16 once"),
        # 3584 / 4390 of 10, cut off
        ("8.1640", "10.0", Run(batch=(4, 896), valid=4390), "10.0 × 3584 / 4390", "3584 labels of one step"),
        ("12.249", "10.0", Run(batch=(4, 896), valid=4390), "10.0 × 4390 / 3584", "over 4390 labels of all"),
        ("9.0", "10.0", Run(batch=(8, 10), valid=72), "10.0 × 72 / 80", "of which 8 are ignored"),
        ("90.0", "10.0", Run(batch=(8, 10), valid=72), "10.0 × 72 / 8", "divided by the 8 texts"),
        ("720.0", "10.0", Run(batch=(8, 10), valid=72), "72 × 10.0", "divided by nothing"),
        ("9.990234", "10.0", Run(batch=(2, 1024)), "10.0 × 1023 / 1024", "1023 next labels"),
        ("0.0023", "2.3", Run(vocabulary=1000), "2.3 / 1000", "averaged over the 1000 classes too"),
        ("47.88", None, Run(ranks=8, vocabulary=151936), "about 4 × ln(151936) = 47.72", "groups of 4"),
        ("11.97", None, Run(ranks=8, vocabulary=151936), "about ln(151936) = 11.93", "nothing yet"),
        ("47.72486", None, Run(ranks=4), "4 × ln(151936)", "the losses of all 4 ranks were added"),
        ("5.99", None, Run(accumulation=2, vocabulary=151936), "about ln(151936) / 2 = 5.966", "by 2 once"),
    ],
)
def test_what_a_run_shows_names_the_denominator(
    typed: str, true: str | None, run: Run, definition: str, cause: str
) -> None:
    first = identify(typed, true, run)[0].constant

    assert first.definition == definition
    assert cause in first.cause


@pytest.mark.parametrize(
    ("typed", "true", "same"),
    [
        ("2.40", "2.4049", True),  # rounded
        ("2.40", "2.4099", True),  # cut off
        ("2.40", "2.41", False),
        ("2.40", "2.395", True),  # a tie, to the even digit
        ("2.40", "2.3949", False),
        ("0.0", "0.0999", True),
        ("0.0", "0.1", False),
        ("1.00e30", "1.009e30", True),
        ("2.4", "2.4", True),  # two digits say that, and no more
        ("2", "3", False),
    ],
)
def test_losses_are_the_same_to_the_digits_of_the_first(typed: str, true: str, same: bool) -> None:
    causes = [each.constant.cause for each in identify(typed, true)]

    assert ("the two losses are the same, to the digits given" in causes) is same


def test_a_loss_of_0_beside_another_is_explained_as_alone() -> None:
    assert identify("0.0", "2.3") == identify("0.0") != ()


def test_numbers_of_a_run_that_make_the_same_ratio_are_both_named() -> None:
    run = Run(batch=(8, 512), valid=2048, ranks=2, accumulation=2)

    added = [each.constant.cause for each in identify("5.2", "2.6", run)]
    again = [each.constant.cause for each in identify("0.52", "1.04", run)]

    assert ["2 accumulated steps" in added[0], "all 2 ranks" in added[1], len(added)] == [True, True, 2]
    assert ["steps was" in again[0], "2 ranks was" in again[1], "are ignored" in again[2]] == [True] * 3


@pytest.mark.parametrize(
    ("typed", "true", "run"),
    [
        ("47.88", "11.97", Run(ranks=6)),  # 4 is no group of 6
        ("8.170", "10.000", Run(batch=(4, 896), valid=4390)),  # 8.164
        ("1.3862944", None, Run(ranks=2)),  # ln 4 by itself
    ],
)
def test_what_a_run_does_not_explain_is_as_without_it(typed: str, true: str | None, run: Run) -> None:
    assert identify(typed, true, run) == identify(typed, true)


@pytest.mark.parametrize(("value", "found"), [(47.68, True), (47.67, False), (50.11, True), (50.12, False)])
def test_an_untrained_model_is_a_thousandth_below_to_a_twentieth_above(value: float, found: bool) -> None:
    names = [each.constant.definition for each in identify(f"{value}", None, Run(ranks=4, vocabulary=151936))]

    assert ("about 4 × ln(151936) = 47.72" in names) is found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "4x"], "'4x' is no shape; write whole numbers as in 4x896"),
        (["--batch", "0x896"], "'0x896' is no shape"),
        (["--batch", "1x1x1x1x1"], "'1x1x1x1x1' is no shape"),
        (["--ranks", "4x4"], "'4x4' is no whole number from 1 to 999999999"),
        (["--ranks", "1000000000"], "'1000000000' is no whole number"),
        (["--valid", "-1"], "'-1' is no whole number"),
    ],
)
def test_what_a_run_cannot_show_is_refused(xent: Xent, arguments: list[str], message: str) -> None:
    done = xent("identify", "47.88", "--true", "11.97", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())


def test_a_run_has_no_number_below_1() -> None:
    with pytest.raises(XentError, match="whole numbers, each from 1 to 1000000000"):
        identify_value("47.88", 11.97, ranks=0)
    assert identify_value("47.88", 11.97, ranks=8).candidates[0].constant.definition == "4 × 11.97"


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("6.9077", "6.9076"),  # 6.907755: cut off, then neither
        ("6.9078", "6.9079"),  # rounded, then neither
        ("27.631", "27.632"),
        ("27.63", "27.64"),
    ],
)
def test_digits_match_rounded_or_cut_off(inside: str, outside: str) -> None:
    assert any(c.constant.definition in {"ln(1000)", "-ln(1e-12)"} for c in identify(inside))
    assert not any(c.constant.definition in {"ln(1000)", "-ln(1e-12)"} for c in identify(outside))


def test_several_values_also_from_standard_input(xent: Xent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("16.118\n-0.5 "))

    done = xent("identify", "2.302585", "-")

    assert done.code == 0
    firsts = [line.split()[0] for line in done.out.splitlines() if line[:1] in "2-1" and line[:1]]
    assert firsts == ["2.302585", "16.118", "-0.5"]
    assert xent("identify", "16.118", "7.123").code == 1


def test_a_remedy_is_said_once(xent: Xent) -> None:
    assert xent("identify", "11.51").out.count("overfit one batch") == 1


def test_a_case_of_twelve_classes_is_written_and_none_of_thirteen() -> None:
    (twelve,), (thirteen,) = identify("2.484907"), identify("2.564949")

    assert twelve.case == f"{{title: one row, logits: [{[0] * 12}], labels: [0]}}"
    assert thirteen.case is None


def test_identify_of_0_is_the_tail_and_of_nan_no_constant(xent: Xent) -> None:
    assert "tail-collapse" in [candidate.constant.bundled for candidate in identify("0.000")]

    run = xent("identify", "nan")
    assert (run.code, run.out) == (2, "")
    assert "run 'xent diagnose batch.npz'" in run.err


@pytest.mark.parametrize("typed", ["abc", "--16.118", "1e999", "16", "9" * 1000])
def test_identify_refuses_what_is_no_loss(xent: Xent, typed: str) -> None:
    run = xent("identify", "--", typed)

    assert run.code == 2
    assert "Traceback" not in run.err
    assert "write the number as it was printed" in run.err or "too few digits" in run.err


def test_the_case_of_a_constant_shows_that_constant(xent: Xent, tmp_path: Path) -> None:
    for candidate in (*map(Candidate, FLOORS), *identify("2.302585"), *identify("1.4612")):
        if candidate.case is None:
            continue
        path = tmp_path / "shown.yaml"
        path.write_text(candidate.case, encoding="utf-8")
        options = ["--dtype", "float64", "--methods", "clipped", "--format", "json"]
        (case,) = json.loads(xent("run", path, *options).out)["cases"]
        # One rounding of the epsilon and one of its log.
        assert math.isclose(case["methods"][0]["loss"], candidate.constant.value, rel_tol=2**-50), candidate


def test_identify_is_written_as_kept(xent: Xent) -> None:
    shown = [xent("identify", value).out for value in ("16.118", "8.05904787", "100", "10.3735")]
    assert_golden("identify.plain", "\n".join(shown))
    document = json.loads(xent("identify", "8.05904787", "--format", "json").out)
    assert (document["schema"], document["candidates"][0]["share"]) == ("xent.identify/1", "1/2")
