"""xent sweep: what it says, in every format, of cases, libraries and losses of one's own; what it refuses."""

import csv
import io
import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import mpmath
import numpy as np
import pytest
from conftest import CASES, Xent, assert_golden, sweep_document

OFFSET = ("sweep", "--offset", "1:1e7", "--methods", "unshifted,sparse", "--points", "61")
GAP = ("sweep", "--gap", "-110:110", "--points", "41")


@pytest.mark.parametrize("form", ["plain", "markdown"])
def test_a_sweep_is_written_as_kept(xent: Xent, form: str) -> None:
    assert_golden(f"sweep.{form}", xent(*OFFSET, "--format", form).out)


def test_the_table_is_drawn_as_kept(xent: Xent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert_golden("sweep-80.table", xent(*OFFSET).out)


def test_the_first_sentence_says_where_each_method_breaks_down(xent: Xent) -> None:
    sentence = " ".join(xent(*GAP).out.partition("\n\n")[0].split())

    assert sentence == (
        "float32: naive, clipped, dense and sparse are 0 from a gap of 16.635532; naive is nan from "
        "103.972084 and inf up to -103.972084; clipped is capped up to -82.89307; "
        "log1p is right throughout."
    )


def test_no_line_is_wider_than_the_terminal(xent: Xent) -> None:
    for width in (40, 80):
        lines = xent(*OFFSET, "--format", "plain").out.splitlines()
        assert max(map(len, lines)) <= max(width, 80)


@pytest.mark.slow
def test_each_format_has_a_curve_of_its_own(xent: Xent) -> None:
    told = sweep_document(xent, "--gap", "4:20", "--dtype", "float32,float16", "--points", "9")

    assert [curve["dtype"] for curve in told["curves"]] == ["float32", "float16"]
    zeros = [b["first"] for curve in told["curves"] for b in curve["breakdowns"] if b["state"] == "0"]
    assert set(zeros) == {16.635532, 7.625}


def test_without_a_range_the_gap_is_varied_as_far_as_the_format_reaches(xent: Xent) -> None:
    told = sweep_document(xent, "--points", "5", "--methods", "log1p")

    (curve,) = told["curves"]
    assert (told["quantity"], curve["low"], curve["high"]) == ("gap", -110, 110)


def test_json_has_the_losses_that_run_prints(xent: Xent) -> None:
    told = sweep_document(xent, "--gap", "1:3", "--points", "3", "--methods", "naive,dense")
    (curve,) = told["curves"]
    rows = "[[1, 0], [2, 0], [3, 0]]"
    options = ("--labels", "[0, 0, 0]", "--reduction", "none", "--methods", "naive,dense", "--format", "json")
    (case,) = json.loads(xent("run", "--logits", rows, *options).out)["cases"]

    assert curve["values"] == [1, 2, 3]
    assert curve["exact"] == case["exact"]["losses"]
    for own, theirs in zip(curve["methods"], case["methods"], strict=True):
        assert (own["method"], own["losses"]) == (theirs["method"], theirs["losses"])
        assert own["slopes"] == [row[0] for row in theirs["gradient"]["values"]]
    assert curve["exact_slope"] == [row[0] for row in case["exact"]["gradient"]]


def test_csv_has_a_row_per_method_and_value(xent: Xent) -> None:
    rows = list(csv.DictReader(io.StringIO(xent(*OFFSET, "--format", "csv").out)))

    assert len(rows) == 2 * 61
    assert {row["state"] for row in rows if row["method"] == "unshifted"} == {"right", "off"}
    assert {row["state"] for row in rows if row["method"] == "sparse"} == {"right"}


@pytest.mark.parametrize(
    ("option", "value", "least", "most"),
    [("--scale", "1:2", 0.126, 0.314), ("--label-rank", "1:3", 0.45, 2.46), ("--gap", "1:2", 0.126, 0.314)],
)
def test_each_quantity_changes_the_true_loss(
    xent: Xent, option: str, value: str, least: float, most: float
) -> None:
    (curve,) = sweep_document(xent, option, value, "--points", "3")["curves"]

    assert least < min(curve["exact"]) < max(curve["exact"]) < most


def test_classes_that_are_equal_have_the_logarithm_of_their_number(xent: Xent) -> None:
    (curve,) = sweep_document(xent, "--classes", "2:1000", "--points", "4")["curves"]

    assert curve["values"] == [2, 16, 126, 1000]
    assert curve["exact"] == [float(str(np.float32(np.log(c)))) for c in curve["values"]]


def test_each_value_is_there_once(xent: Xent) -> None:
    (curve,) = sweep_document(xent, "--classes", "2:5", "--points", "50")["curves"]

    assert curve["values"] == [2, 3, 4, 5]


def test_a_gap_is_that_to_the_largest_other_class(xent: Xent, tmp_path: Path) -> None:
    case = tmp_path / "c.yaml"
    case.write_text("dtype: float64\nlogits: [[7, -5, 2]]\nlabels: [1]\n", encoding="utf-8")
    (curve,) = sweep_document(xent, case, "--gap", "-1:1", "--points", "3")["curves"]

    with mpmath.workprec(200):
        expected = [mpmath.log(1 + mpmath.exp(-gap) + mpmath.exp(-5 - gap)) for gap in (-1, 0, 1)]
    assert curve["exact"] == [float(loss) for loss in expected]


def test_a_strip_shows_the_worst_state_of_a_column(xent: Xent) -> None:
    arguments = ("--gap", "-104:104", "--methods", "naive", "--points", "500")
    lines = xent("sweep", *arguments).out.splitlines()
    (strip,) = [line.removeprefix("    n naive  ") for line in lines if line.startswith("    n naive  ")]

    # -104 and 104 alone are beyond 103.97, and a column has seven values.
    assert (strip[0], strip[-1], strip[33]) == ("I", "N", "·")


def test_smoothing_mixes_the_losses_of_all_classes(xent: Xent) -> None:
    told = sweep_document(xent, "--smoothing", "0:1", "--gap", "2", "--dtype", "float64", "--points", "3")
    (curve,) = told["curves"]
    with mpmath.workprec(200):
        log_sum = mpmath.log(mpmath.exp(2) + 1)
        expected = [log_sum - 2, log_sum - 1.5, log_sum - 1]  # (1 - ε) (L - 2) + ε (L - 1)

    assert curve["exact"] == [float(loss) for loss in expected]


def test_a_logit_of_a_case_is_varied_by_its_place(xent: Xent) -> None:
    case = CASES / "cancellation" / "tail-collapse.yaml"
    (curve,) = sweep_document(xent, case, "--logit", "1,1=-3:3", "--points", "3", "--methods", "log1p")[
        "curves"
    ]

    x = np.float64(np.float32(16.942385))
    expected = np.log1p(np.exp(np.array([-3, 0, 3]) - x))
    np.testing.assert_allclose(curve["exact"], expected, rtol=2.0**-23)


def test_the_blogs_batch_is_varied_without_its_probabilities(xent: Xent) -> None:
    done = xent("sweep", "abnormal", "--logit", "0,3=0:1e32", "--points", "5")

    assert done.code == 0
    assert "its probabilities set aside" in " ".join(done.out.split())


def test_a_binary_case_breaks_down_where_the_sigmoid_does(xent: Xent) -> None:
    told = sweep_document(xent, "clamp-leaps", "--gap", "-50:50", "--methods", "bce_naive", "--points", "11")
    found = {(b["state"], b["direction"]): b["first"] for b in told["curves"][0]["breakdowns"]}

    # -ln(1 - p) with p = 1 / (1 + exp(-x)): 1 - p is 0 from 1 + t = 1 on
    assert found["inf", "down"] == pytest.approx(-24 * np.log(2), rel=2.0**-22)


def test_a_loss_of_ones_own_breaks_down_where_it_does(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def loss(logits, labels):\n"
        "    e = np.exp(logits)\n"
        "    return np.log(e.sum(axis=1)) - logits[np.arange(len(labels)), labels]\n"
    )
    target = f"{tmp_path / 'mine.py'}:loss"
    told = sweep_document(xent, "--gap", "20:120", "--methods", target, "--points", "6")
    (found,) = [b for b in told["curves"][0]["breakdowns"] if b["state"] == "inf"]

    with np.errstate(over="ignore"):
        exps = np.exp(np.array([found["last_before"], found["first"]], np.float32))
    assert np.isinf(exps).tolist() == [False, True]
    assert np.nextafter(np.float32(found["last_before"]), np.float32(200)) == np.float32(found["first"])


def test_a_loss_of_ones_own_that_returns_a_mean_is_called_for_each_value(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "mean.py").write_text(
        "import numpy as np\n"
        "def loss(logits, labels):\n"
        "    return (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]).mean()\n"
    )
    target = f"{tmp_path / 'mean.py'}:loss"
    (curve,) = sweep_document(xent, "--gap", "1:3", "--points", "3", "--methods", target)["curves"]

    assert curve["methods"][0]["states"] == ["right"] * 3


@pytest.mark.frameworks
def test_a_framework_collapses_where_log_of_1_does(xent: Xent) -> None:
    pytest.importorskip("torch")
    told = sweep_document(xent, "--gap", "10:20", "--methods", "torch.cross_entropy", "--points", "5")
    (found,) = [b for b in told["curves"][0]["breakdowns"] if b["state"] == "0"]

    assert found["first"] == 16.635532


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gap", "3:2"), "the lower one first"),
        (("--gap", "a:b"), "give a range LOW:HIGH"),
        (("--gap", "1:2:3"), "give a range LOW:HIGH"),
        (("--gap", "nan:1"), "two finite numbers"),
        (("--gap", "0:inf"), "two finite numbers"),
        (("--gap", "5"), "--gap 5: give a range LOW:HIGH"),
        (("--gap", "1:2", "--offset", "1:2"), "give one range"),
        (("--offset", "0:1", "--spacing", "log"), "needs a range above 0"),
        (("--offset", "1:1e9", "--dtype", "float16"), "beyond float16, whose largest number is 65504"),
        (("--classes", "2.5:4"), "is a whole number"),
        (("--classes", "0:4"), "from 1 to 262144"),
        (("--smoothing", "0:2"), "from 0 to 1"),
        (("--label-rank", "1:5", "--classes", "3"), "the ranks of 3 classes end there"),
        (("--dtype", "float8"), "unknown format 'float8'"),
        (("--dtype", ","), "name a format"),
        (("--methods", "nope"), "unknown method 'nope'"),
        (("--example", "1"), "name CASE"),
        (("--logit", "0,1=1:2"), "give CASE"),
        (("abnormal", "--logit", "1:2"), "give ROW,CLASS=LOW:HIGH"),
        (("abnormal", "--logit", "0,99=1:2"), "has no class 99: they are 0 to 9"),
        (("abnormal", "--logit", "9,0=1:2"), "has no example 9: they are 0 to 1"),
        (("abnormal", "--example", "1", "--logit", "0,1=1:2"), "names the example"),
        (("abnormal", "--classes", "2:9"), "leave out CASE"),
        (("abnormal", "--gap", "1:2", "--scale", "3"), "with CASE give one quantity"),
        (("clamp-leaps", "--offset", "1:2"), "this case is binary"),
        (("ignored-row-of-masks", "--offset", "1:2"), "needs an example that is not ignored"),
        (("label-out-of-range", "--gap", "1:2"), "needs a valid label"),
        (("labels-sum-to-two", "--gap", "1:2"), "needs a label of one class"),
        (("nowhere.yaml",), "no such file"),
        (("cancellation", "--gap", "1:2"), "name one case"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_varied_is_refused_in_one_message(
    xent: Xent, arguments: tuple[str, ...], message: str
) -> None:
    done = xent("sweep", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") <= 2


class Page(HTMLParser):
    """The tags of a page, and the texts of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))


@pytest.mark.slow
def test_the_document_has_a_table_beside_each_picture_and_nothing_that_runs(xent: Xent) -> None:
    page = Page(xent(*GAP, "--format", "html").out)
    names = [tag for tag, _ in page.tags]

    assert names.count("figure") == names.count("details") == 4
    assert "script" not in names
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert all(not (attrs.get("src") or "").startswith("http") for _, attrs in page.tags)


@pytest.mark.parametrize(
    "suffix",
    ["svg", "csv", "json", *(pytest.param(name, marks=pytest.mark.slow) for name in ("html", "png"))],
)
def test_the_suffix_chooses_the_format_and_the_bytes_are_the_same(
    xent: Xent, tmp_path: Path, suffix: str
) -> None:
    files = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
    for file in files:
        assert xent(*OFFSET, "-o", file).code == 0

    one, two = (file.read_bytes().replace(b"two.", b"one.") for file in files)
    assert one == two
    begins = {"svg": b"<svg", "html": b"<!DOCTYPE html>", "png": b"\x89PNG", "csv": b"dtype,", "json": b"{"}
    assert one.startswith(begins[suffix])


def test_the_picture_says_in_words_what_it_shows(xent: Xent) -> None:
    picture = xent(*OFFSET, "--format", "svg").out

    label = re.search(r'role="img" aria-label="([^"]+)"', picture)
    assert label is not None
    assert "unshifted is off by 1 % from an offset of 262143.33" in label[1]


def test_a_picture_of_points_is_a_png_of_that_size(xent: Xent, tmp_path: Path) -> None:
    file = tmp_path / "s.png"
    xent(*OFFSET, "-o", file)
    data = file.read_bytes()

    width, height = struct.unpack(">II", data[16:24])
    assert min(width, height) > 500
    assert data[-8:-4] == b"IEND"
    assert zlib.crc32(data[-8:-4]) == struct.unpack(">I", data[-4:])[0]


def test_without_the_extra_a_picture_is_refused_before_the_work(
    xent: Xent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)

    done = xent(*OFFSET, "--format", "svg")

    assert (done.code, done.out) == (2, "")
    assert "pip install 'xent[report]'" in done.err


def test_the_picture_of_slopes_has_the_true_one_alone_where_no_method_has_one(xent: Xent) -> None:
    page = xent("sweep", "--points", "9", "--methods", "by_hand", "--format", "html").out

    places = re.findall(r'transform="translate\(([^)]*)\)"', page)
    assert len(places) > 9
    assert all(abs(float(number)) < 2000 for place in places for number in place.split(","))
