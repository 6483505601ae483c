"""What programs read: JSON by its contract, JUnit, CSV."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import CASES, Xent

from xentcli import __version__

BLOG = [str(CASES / f"{name}.yaml") for name in ("normal-3x3", "normal-10class", "abnormal")]


def test_json_follows_the_contract(xent: Xent) -> None:
    document = json.loads(xent("run", BLOG[2], "--format", "json").out, parse_constant=pytest.fail)

    (case,) = document["cases"]
    assert document["schema"] == "xent.run/1"
    assert document["version"] == __version__
    assert document["summary"] == {"cases": 1, "numbers": 26, "reproduced": 26}
    assert {key: case[key] for key in ("name", "path", "dtype", "arithmetic", "reduction", "shape")} == {
        "name": "abnormal",
        "path": BLOG[2],
        "dtype": "float32",
        "arithmetic": "eigen",
        "reduction": "mean",
        "shape": [2, 10],
    }
    assert case["exact"]["losses"] == [2.4974836e29, 1.3207311e31]
    naive, clipped, dense, _ = case["methods"]
    assert [naive[key] for key in ("method", "loss", "ulps", "verdict")] == ["naive", "nan", None, "nan"]
    assert naive["losses"] == ["nan", "nan"]
    assert naive["findings"][0] == "zero-times-infinity"
    assert naive["gradient"]["state"] == "nan"
    assert (clipped["loss"], clipped["verdict"]) == (82.89307, "capped")
    assert clipped["gradient"]["values"] == [[0.0] * 10, [0.0] * 10]
    assert (dense["verdict"], dense["gradient"]["state"]) == ("accurate", "alive")
    assert 0 < dense["ulps"] < 1
    assert case["expectations"][0] == {
        "quantity": "naive",
        "expected": "nan",
        "got": "nan",
        "numbers": 1,
        "reproduced": 1,
    }
    assert case["expectations"][4]["numbers"] == 20
    assert case["expectations"][4]["got"][0] == [0.0] * 5 + [1.0] + [0.0] * 4


def test_json_says_what_was_overridden(xent: Xent) -> None:
    document = json.loads(xent("run", "abnormal", "--methods", "naive", "--format", "json").out)

    assert document["overridden"] == ["methods"]
    assert document["summary"]["numbers"] == 23


def test_junit_has_a_failure_a_miss(xent: Xent, wrong: Path) -> None:
    suite = ET.fromstring(xent("run", wrong, "--format", "junit").out)[0]  # noqa: S314 - our own text

    assert suite.attrib | {"file": ""} == {
        "name": "wrong",
        "file": "",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    assert [[child.tag for child in test] for test in suite] == [["failure"], []]
    assert suite[0][0].attrib["message"] == "expected 7, got 1.3132616"
    aside = ET.fromstring(xent("run", wrong, "--methods", "all", "--format", "junit").out)[0]  # noqa: S314 - our own text
    assert [[child.tag for child in test] for test in aside] == [["skipped"], []]


def test_csv_has_every_digit(xent: Xent) -> None:
    rows = list(csv.DictReader(io.StringIO(xent("run", *BLOG, "--format", "csv").out)))

    assert sum(int(row["numbers"] or 0) for row in rows) == 72
    assert (
        len(
            next(row for row in rows if row["quantity"] == "softmax" and row["case"] == "abnormal")[
                "losses"
            ].split()
        )
        == 20
    )
