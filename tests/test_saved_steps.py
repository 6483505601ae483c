"""Files that ``watch`` saved, and others that pretend to be: what diagnose, new and run make of them."""

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from conftest import Xent, first

import xentcli
from xentcli import load
from xentcli.bridge import save
from xentcli.bridge.options import BadLoss
from xentcli.bridge.watch import watch
from xentcli.load.sources import Source

inf, nan = math.inf, math.nan
N, C = 64, 10


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xentcli.bridge.capture.FILES", save.Files())


def batch(dtype: Any = np.float32) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=(N, C)).astype(dtype), random.integers(0, C, N)


def saved(loss: Any, logits: Any, labels: Any, **options: Any) -> tuple[str, str]:
    """Watch a bad loss; return its message and the file."""
    with pytest.raises(BadLoss) as raised:
        watch(loss, logits, labels, step=812, **options)
    assert raised.value.path is not None
    return str(raised.value), raised.value.path


def test_rows_are_those_of_the_step_everywhere(xent: Xent) -> None:
    x, k = batch()
    x[47, 3] = inf
    _, path = saved(nan, x, k)

    asked = xent("diagnose", path, "--extract", "worst.yaml")
    document = json.loads(xent("diagnose", path, "--format", "json").out)

    assert asked.out.startswith("Your loss is nan because of row 47: the logit of class 3 is +inf.")
    assert "rows of step 812, where the loss is nan" in asked.out
    (step,) = document["steps"]
    assert (step["file"], step["step"], step["rank"], step["total"]) == (path, 812, None, N)
    assert (step["what"], 0 < step["rows"] < N) == ("loss is nan", True)
    (worst,) = [row for row in document["worst"] if row["findings"] == ["infinite-logit"]]
    with np.load(path) as file:
        assert file["rows"][worst["row"]] == worst["row_in_step"] == 47
    text = Path("worst.yaml").read_text(encoding="utf-8")
    assert 'title: "1 row of step 812: infinite-logit"' in text
    assert 'source: "rows xent-000812.npz 47; ' in text


def test_a_formula_that_fails_is_named_by_what_the_step_saw(xent: Xent) -> None:
    x, k = batch()
    x[9, (k[9] + 1) % C] = 150  # the label's probability underflows: naive gives nan, guarded inf
    nan_file, inf_file = saved(nan, x, k)[1], saved(inf, x, k)[1]

    for path, method in ((nan_file, "naive"), (inf_file, "guarded")):
        asked = xent("diagnose", path, "--extract", "worst.yaml", "--force")
        assert f"No row is broken. With {method}" in asked.out
        assert "because of row 9" in " ".join(asked.out.split())
        assert f"'xent explain worst.yaml --method {method}' says why" in asked.err
        assert xent("explain", "worst.yaml", "--method", method).code == 0


def test_a_loss_that_no_formula_explains_is_your_own(xent: Xent) -> None:
    _, path = saved(nan, *batch())

    assert "So it is your formula: 'xent check mine.py:loss' looks at it." in " ".join(
        xent("diagnose", path).out.split()
    )


def test_what_the_step_ignored_is_ignored_unless_something_else_is_asked_for(xent: Xent) -> None:
    x, k = batch()
    k[:32] = 3
    x[3] = nan
    _, path = saved(nan, x, k, ignore_index=3, keep="all")

    assert "labels ignored (3)" in xent("diagnose", path).out
    assert "ignored (3)" not in xent("diagnose", path, "--ignore-index", "-100").out
    diagnosis = xentcli.diagnose_logits(Path(path))
    assert (diagnosis.survey.ignore_index, diagnosis.observed) == (3, "nan")
    assert xentcli.diagnose_logits(Path(path), ignore_index=5, observed="2.5").survey.ignore_index == 5
    assert xentcli.diagnose_logits(x, k).survey.ignore_index == -100
    assert xent("new", "--from", path, "case.yaml").code == 0
    text = Path("case.yaml").read_text(encoding="utf-8")
    assert "ignore_index: -100" in text
    assert 'title: "Logits of xent-000812.npz: 64 of 64 rows of step 812, where the loss is nan"' in text


@pytest.mark.parametrize("dtype", first(2, [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]))
def test_run_reads_a_saved_file_bit_for_bit(xent: Xent, dtype: Any) -> None:
    x, k = batch(dtype)
    x[9, 3] = nan
    Path(saved(nan, x, k)[1]).rename("case.npz")

    ran = xent("run", "case.npz", "--format", "json")
    xent("new", "--from", "case.npz", "case.yaml")

    assert ran.code == 0
    assert "nan-logit" in ran.out
    again = xent("run", "case.yaml", "--format", "json").out
    assert again.replace("case.yaml", "case.npz") == ran.out
    batch_of_case = load.load(Source("case.yaml", "case", Path("case.yaml").read_bytes())).batch
    with np.load("case.npz") as file:
        stored = file["logits"].view(dtype) if dtype is ml_dtypes.bfloat16 else file["logits"]
        assert np.array_equal(batch_of_case.logits, stored, equal_nan=True)
    assert xent("explain", "case.npz", "--method", "naive").code == 0


def test_context_of_any_name_is_beside_the_rows(xent: Xent) -> None:
    x, k = batch()
    x[9] = nan
    context = {"probabilities": np.zeros(3), "preds": x * 2, "y": k * 0, "losses": np.zeros(3)}
    _, path = saved(nan, x, k, context=context, keep="all")

    with np.load(path) as file:
        assert {*context} <= {*file}
    assert "probabilities" not in xent("new", "--from", path, "-").out
    assert xent("run", path).code == 0
    assert "row 9" in xent("diagnose", path).out


def test_binary_logits_stay_binary(xent: Xent) -> None:
    x, y = np.linspace(-3, 3, N), np.arange(N) % 2 * 1.0
    x[9] = nan
    _, path = saved(nan, x, y)

    assert "because of row 9: its logit is nan" in " ".join(xent("diagnose", path).out.split())
    assert "nan-logit" in xent("run", path).out


def test_few_rows_say_nothing_of_where_labels_start(xent: Xent) -> None:
    x, k = batch()
    k = np.maximum(k, 1)
    k[40] = C
    _, path = saved(1.0, x, k)

    assert "count from 1" not in xent("diagnose", path).out
    np.savez("whole.npz", logits=x, labels=k)
    assert "count from 1" in xent("diagnose", "whole.npz").out


META = {"schema": "xent.batch/1", "rows": 9, "what": "loss is nan", "loss": ["nan"], "step": 1, "rank": None}


@pytest.mark.parametrize(
    ("meta", "rows", "is_refused"),
    [
        (META, [0, 4, 8], False),
        (META, [0, 4, 9], True),
        (META, [-1, 4, 8], True),
        (META, [0, 4], True),
        (META, [0.0, 4.0, 8.0], True),
        (META, [[0, 4, 8]], True),
        (META, [0, 4, 4], True),
        (META, None, True),
        ({**META, "rows": "9"}, [0, 4, 8], True),
        ({**META, "rows": 10**400}, [0, 4, 8], True),
        ({**META, "step": -1, "rank": [], "what": 7, "loss": {}, "ignore_index": 10**40}, [0, 4, 8], False),
        ({**META, "ignore_index": True, "binary": "yes"}, [0, 4, 8], False),
        ({**META, "what": "\x1b[31m" + "x" * 10**5}, [0, 4, 8], False),
        ({**META, "schema": "another"}, [7], False),
        ("[" * 10**5, [7], False),
        ("{", [7], False),
        (3, [7], False),
    ],
)
def test_a_file_that_pretends_to_be_saved_is_refused_or_read_as_any_other(
    xent: Xent, meta: Any, rows: Any, is_refused: bool
) -> None:
    text = json.dumps(meta) if isinstance(meta, dict) else meta
    given: dict[str, Any] = {} if rows is None else {"rows": np.array(rows)}
    np.savez("x.npz", logits=np.zeros((3, 2)), labels=np.zeros(3, int), meta=np.array(text), **given)

    for done in (xent("diagnose", "x.npz"), xent("new", "--from", "x.npz", "-"), xent("run", "x.npz")):
        assert "Traceback" not in done.err
        assert "\x1b" not in done.out + done.err
        assert len(max(done.out.splitlines(), default="", key=len)) < 300
        if is_refused:
            assert (done.code, done.err.count("\n")) == (2, 1)
            assert "x.npz: its 'meta' is that of a step (xent.batch/1), but its 'rows' do not" in done.err
        else:
            assert done.code in {0, 1}


@pytest.mark.parametrize(
    ("binary", "shape", "is_refused"),
    [
        (False, (3, 2), False),
        (False, (3, 4, 2), True),
        (False, (3,), True),
        (False, (), True),
        (True, (3,), False),
        (True, (3, 1), False),
        (True, (3, 2), True),
        (True, (3, 0), True),
        (True, (), True),
    ],
)
def test_logits_of_another_shape_than_that_of_rows_are_refused(
    xent: Xent, binary: bool, shape: tuple[int, ...], is_refused: bool
) -> None:
    text, labels = json.dumps({**META, "binary": binary}), np.zeros(shape[:2] if len(shape) > 2 else 3, int)
    np.savez(
        "x.npz", logits=np.full(shape, nan), labels=labels, meta=np.array(text), rows=np.array([0, 4, 8])
    )

    for done in (xent("diagnose", "x.npz"), xent("new", "--from", "x.npz", "-")):
        if is_refused:
            assert (done.code, done.err.count("\n")) == (2, 1)
            assert f"(xent.batch/1), but its logits are of shape {shape}, not (n, " in done.err
        else:
            assert done.code in {0, 1}
            assert "3 of 9 rows of step 1" in done.out


@pytest.mark.parametrize("option", [("--shift",), ("--class-axis", "0"), ("--binary",)])
def test_options_for_other_rows_than_those_saved_are_refused(xent: Xent, option: tuple[str, ...]) -> None:
    x, k = batch()
    x[9] = nan
    _, path = saved(nan, x, k)

    done = xent("diagnose", path, *option)

    said = "holds rows of a step (n, C), each with its label; leave out --shift, --class-axis and --binary"
    assert (done.code, done.err) == (2, f"{path}: {said}\n")


def test_files_of_several_ranks_keep_their_rows_their_steps_and_what_they_ignored(xent: Xent) -> None:
    x, k = batch()
    k[:20], k[20:] = 3, np.maximum(k[20:], 1)
    x[9] = nan
    paths = [saved(nan, x, k, ignore_index=3)[1] for _ in range(2)]
    k[40] = C
    paths.append(saved(1.0, x, k, ignore_index=3)[1])

    both, other = xent("diagnose", *paths[:2]).out, xent("diagnose", *paths, "--ignore-index", "-100").out

    said = " ".join(both.split())
    assert said.count("of 64 rows of step 812, where the loss is nan · ") == 2
    assert "labels ignored (3)" in said
    assert "ignored (3)" not in other
    assert "count from 1" not in other
