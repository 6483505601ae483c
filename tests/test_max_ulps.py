"""How many ulps a loss may be off: read from the command line or from Python, by dtype, and held."""

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from losses import right
from test_schemas import VALIDATORS

from xentcli.check.findings import judge_response
from xentcli.check.probes import Probe
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError
from xentcli.frameworks.conventions import CONVENTIONS
from xentcli.frameworks.function import LossFunction
from xentcli.testing import check_loss
from xentcli.words import DTYPES

LOSS = "tests/losses/right.py:log1p"


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("4", (4, 4, 4, 4), "4"),
        ("0", (0, 0, 0, 0), "0"),
        ("bfloat16=1,float32=16", (4, 1, 16, 4), "bfloat16 1, float32 16, others 4"),
        (" float32 = 16 , 2.5 ", (2.5, 2.5, 16, 2.5), "float32 16, others 2.5"),
        ("float16=3,bfloat16=3,float32=3,float64=3", (3, 3, 3, 3), "3"),
        (
            "float64=1,float32=2,bfloat16=3,float16=4",
            (4, 3, 2, 1),
            "float16 4, bfloat16 3, float32 2, float64 1",
        ),
        ("float32=4", (4, 4, 4, 4), "4"),
    ],
)
def test_a_text_gives_every_dtype_its_ulps(text: str, expected: tuple[float, ...], shown: str) -> None:
    max_ulps = MaxUlps.parse(text)

    assert tuple(map(max_ulps.of, DTYPES)) == expected
    assert str(max_ulps) == shown
    assert max_ulps.common == (expected[0] if len(set(expected)) == 1 else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("float23=4", "max_ulps: no dtype is called 'float23'; did you mean 'float32'?"),
        ("x=4", "no dtype is called 'x'; expected one of float16, bfloat16, float32, float64"),
        (
            "float32=",
            "max_ulps: 'float32=' is no number of ulps; write 4, or a number for each dtype, such as",
        ),
        ("", "max_ulps: '' is no number of ulps"),
        ("1,", "max_ulps: '' is no number of ulps"),
        ("four", "bfloat16=1,float32=16 (float16, bfloat16, float32, float64)"),
        ("-1", "max_ulps is a number, at least 0, not -1"),
        ("inf", "max_ulps is a number, at least 0, not inf"),
        ("float32=nan", "max_ulps of float32 is a number, at least 0, not nan"),
        ("float32=1,float32=2", "max_ulps: 'float32=1,float32=2' gives float32 twice"),
        ("1,2", "max_ulps: '1,2' gives the number of all dtypes twice"),
        ("1=float32", "max_ulps: '1=float32' is no number of ulps"),
    ],
)
def test_what_is_no_number_of_ulps_is_refused(xent: Xent, text: str, message: str) -> None:
    with pytest.raises(XentError) as raised:
        MaxUlps.parse(text)
    run = xent("check", LOSS, "--max-ulps", text)

    assert message in str(raised.value)
    assert (run.code, run.out, run.err) == (2, "", f"{raised.value}\n")


@pytest.mark.parametrize("value", ["4", None, True, -1, {"float32": "4"}, {"float32": -1}, {"single": 1}])
def test_a_suite_is_told_of_a_bad_value(value: Any) -> None:
    with pytest.raises(XentError, match="max_ulps"):
        check_loss(right.log1p, max_ulps=value)


@pytest.mark.parametrize(
    ("max_ulps", "names"),
    [({"float32": 3.04}, []), ({"float32": 3.03}, ["off"]), ({"float64": 2}, []), (3.03, ["off"])],
)
def test_a_loss_is_held_to_the_ulps_of_its_dtype(max_ulps: Any, names: list[str]) -> None:
    # Of two equal logits the loss is log 2, and the allowance max_ulps + 1. The float32 nearest log 2 is
    # 0.032 ulps above it, and this one 4 ulps more.
    def loss(logits: Any, labels: Any) -> Any:
        return (right.log1p(logits, labels).view(np.int32) + 4).view(np.float32)

    probe = Probe.build(CONVENTIONS["numpy"], [[2, 2]], [0], "float32")
    response = LossFunction.build(loss, None, probe.convention).respond(probe.request())
    findings, error = judge_response(probe, response, MaxUlps.from_value(max_ulps))

    assert error == pytest.approx(Decimal("4.032"), abs=Decimal("0.001"))
    assert [finding.name for finding in findings] == names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "shown", "fields"),
    [
        ("5", "5 ulps allowed besides rounding", {"max_ulps": 5}),
        (
            "float16=8",
            "float16 8, others 4 ulps allowed besides rounding",
            {"max_ulps": 4, "max_ulps_by_dtype": {"float16": 8, "bfloat16": 4, "float32": 4, "float64": 4}},
        ),
    ],
)
def test_the_report_says_what_was_allowed(xent: Xent, text: str, shown: str, fields: dict[str, Any]) -> None:
    arguments = ("check", LOSS, "--only", "one-class", "--max-ulps", text)
    document = json.loads(xent(*arguments, "--format", "json").out)
    VALIDATORS["check"].validate(document)

    assert shown in " ".join(xent(*arguments).out.split())
    assert {key: value for key, value in document.items() if key.startswith("max_ulps")} == fields
