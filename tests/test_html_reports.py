"""HTML reports of run, compare, check and diagnose: what is on them, and that it is what JSON says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from conftest import Xent
from html_pages import page, rows, text

from xentcli.__main__ import main
from xentcli.methods.table import METHOD_NAMES

LOSS = (
    "import numpy as np\n"
    "def loss(x, y):\n"
    "    with np.errstate(all='ignore'):\n"
    "        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)\n"
    "        return -np.log(p[np.arange(len(x)), y])\n"
)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    logits = random.normal(0, 4, (2000, 8)).astype(np.float32)
    labels = random.integers(0, 8, 2000)
    logits[500, 3], labels[1999], logits[700:750] = np.nan, 9, logits[700:750] * 60
    path = tmp_path_factory.mktemp("dump") / "dump.npz"
    np.savez(path, logits=logits, labels=labels)
    return path


@pytest.fixture(scope="module")
def shown(dump: Path) -> Element:
    """Return the report of the dump, which no test changes."""
    path = dump.with_suffix(".html")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["xent", "diagnose", str(dump), "-o", str(path)])
        assert main() == 1
    return page(path.read_text(encoding="utf-8"))


def arrays(path: Path) -> tuple[Any, Any]:
    with np.load(path) as file:
        return file["logits"].astype(np.float64), file["labels"]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "abnormal"),
        ("run", "cases/binary"),
        ("compare", "abnormal", "tail-collapse"),
        ("check", "--list"),
    ],
    ids=" ".join,
)
def test_the_same_call_gives_the_same_bytes(xent: Xent, words: tuple[str, ...]) -> None:
    first, second = (xent(*words, "--format", "html") for _ in range(2))

    page(first.out)
    assert first == second
    assert first.code == 0
    assert first.out.endswith("</html>\n")


def test_a_dump_gives_the_same_bytes_whatever_the_seed_of_hashes(dump: Path) -> None:
    words = [sys.executable, "-m", "xentcli", "diagnose", str(dump), "--format", "html"]
    started = [
        subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in "01"
    ]
    first, second = (each.communicate()[0] for each in started)

    page(first.decode())
    assert first == second


def test_the_command_that_made_it_stands_at_the_end(xent: Xent) -> None:
    root = page(xent("run", "abnormal", "--methods", "naive,dense", "--format", "html").out)

    assert text(root.find(".//footer//code")) == "xent run abnormal --methods naive,dense --format html"


@pytest.mark.parametrize("suffix", ["html", "htm"])
def test_the_suffix_of_a_file_chooses_the_format(xent: Xent, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report.{suffix}"

    assert xent("run", "abnormal", "-o", path).out == ""
    page(path.read_text(encoding="utf-8"))


def test_the_answer_is_the_heading(xent: Xent) -> None:
    root = page(xent("run", "abnormal", "--format", "html").out)

    heading = text(root.find(".//h1"))
    assert heading.startswith("naive is nan because")
    assert heading in text(root.find(".//title"))
    assert text(root.find(".//p[@class='lead']")) == "26 of 26 numbers reproduced."


def test_a_run_has_the_numbers_of_its_json(xent: Xent) -> None:
    root = page(xent("run", "abnormal", "--format", "html").out)
    (case,) = json.loads(xent("run", "abnormal", "--format", "json").out)["cases"]

    head, exact, *methods = rows(root, "case-abnormal")
    assert float(exact[head.index("loss")]) == case["exact"]["loss"]
    for row, method in zip(methods, case["methods"], strict=True):
        assert row[0] == method["method"]
        assert row[head.index("verdict")] == method["verdict"]
        assert row[head.index("findings")].split() == method["findings"]
        assert row[head.index("gradient")] == method["gradient"]["state"]
        assert str(method["loss"]) in {row[head.index("loss")], str(float(row[head.index("loss")]))}
    given = rows(root, "case-abnormal", 1)
    assert [row[0] for row in given][-3:] == ["softmax", "softmax_sum", "softmax_matches"]


def test_a_finding_leads_to_its_cause_and_remedy(xent: Xent) -> None:
    root = page(xent("run", "abnormal", "--format", "html").out)

    link = root.find(".//table//a[@href='#finding-clip-active']")
    assert text(link) == "clip-active"
    meaning = text(root.find(".//section[@id='finding-clip-active']"))
    assert "outside the clip" in meaning
    assert "remedy" in meaning


def test_a_source_is_a_link_that_tells_no_site_where_it_was(xent: Xent) -> None:
    root = page(xent("run", "abnormal", "--format", "html").out)

    links = [each for each in root.iter("a") if each.attrib["href"].startswith("http")]
    assert "https://blog.csdn.net/brooknew/article/details/82464367" in map(text, links)
    assert {each.attrib["rel"] for each in links} == {"noreferrer noopener"}


def test_of_several_cases_a_table_leads_to_each(xent: Xent) -> None:
    root = page(xent("run", "cases/binary", "--format", "html").out)

    section = root.find(".//section[@id='cases']")
    assert section is not None
    targets = [each.attrib["href"].removeprefix("#") for each in section.iter("a")]
    assert len(targets) == len(rows(root, "cases")) - 1 > 5
    assert targets == [each.attrib["id"] for each in root.findall(".//section[@id='numbers']/section")]


def test_a_cell_of_the_matrix_leads_to_the_row_of_its_method(xent: Xent) -> None:
    names = ("abnormal", "tail-collapse", "clamp-leaps")
    root = page(xent("compare", *names, "--format", "html").out)
    cases = {
        case["name"]: case for case in json.loads(xent("compare", *names, "--format", "json").out)["cases"]
    }
    parents = {row.attrib["id"]: row for row in root.iter("tr") if "id" in row.attrib}

    cells = root.findall(".//section[@id='matrix']//td/a")
    judged = [m for case in cases.values() for m in case["methods"] if "verdict" in m]
    assert len(cells) == len(judged) > 10
    for cell in cells:
        row = [text(each) for each in parents[cell.attrib["href"].removeprefix("#")]]
        method, _, facts = cell.attrib["title"].partition(": ")
        assert cell.attrib["aria-label"] == cell.attrib["title"]
        assert row[0] == method
        assert facts.startswith(row[2])
        assert row[1] in facts


def test_a_name_in_the_matrix_leads_to_its_case_and_a_method_to_what_it_is(xent: Xent) -> None:
    root = page(xent("compare", "abnormal", "--format", "html").out)

    targets = {text(each): each.attrib["href"] for each in root.findall(".//section[@id='matrix']//th//a")}
    assert targets.pop("abnormal") == "#case-abnormal"
    assert set(targets) <= set(METHOD_NAMES)
    assert targets["naive"] == "#method-naive"
    assert "log" in text(root.find(".//tr[@id='method-naive']"))


def test_the_whole_atlas_stays_below_a_megabyte(xent: Xent) -> None:
    html = xent("compare", "--format", "html").out

    root = page(html)
    assert len(html.encode()) < 1_000_000
    assert len(root.findall(".//section[@id='cases']/section")) >= 60


def test_a_check_names_its_causes_and_every_check(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOSS, encoding="utf-8")
    words = ("check", f"{tmp_path}/mine.py:loss", "--only", "blog", "--only", "clipping")
    run = xent(*words, "--format", "html")
    report = json.loads(xent(*words, "--format", "json").out)

    root = page(run.out)
    assert run.code == 1
    assert (
        text(root.find(".//h1")) + "".join(map(text, root.findall(".//p[@class='lead']")))
        == report["verdict"]
    )
    assert [text(each) for each in root.findall(".//section[@id='causes']/section/h3")] == [
        cause["name"] for cause in report["causes"]
    ]
    for cause in report["causes"]:
        assert cause["remedy"] in text(root.find(f".//section[@id='cause-{cause['name']}']"))
    head, *checks = rows(root, "checks")
    assert [(row[0], row[head.index("status")]) for row in checks] == [
        (check["name"], check["status"]) for check in report["checks"]
    ]


def test_worst_rows_are_those_of_the_json(xent: Xent, dump: Path, shown: Element) -> None:
    worst = json.loads(xent("diagnose", dump, "--format", "json").out)["worst"]

    head, *found = rows(shown, "rows")
    assert [(row[0], row[1]) for row in found] == [(str(row["row"]), str(row["label"])) for row in worst]
    assert head[-1] == "findings"


def counted(table: list[list[str]], values: Any) -> None:
    """Hold the rows of a histogram against a count with NumPy."""
    for low, high, number in table:
        assert int(number) == ((values >= float(low)) & (values < float(high))).sum()
    assert sum(int(row[-1]) for row in table) == len(values) > 0


def test_histograms_count_rows(dump: Path, shown: Element) -> None:
    x, y = arrays(dump)
    sound = np.isfinite(x).all(axis=1) & (y < 8)
    x, y = x[sound], y[sound]
    own = x[np.arange(len(x)), y]
    others = np.where(np.arange(8) == y[:, None], -np.inf, x).max(axis=1)
    losses = np.logaddexp.reduce(x, axis=1) - own

    assert rows(shown, "losses")[0] == ["loss from", "up to", "rows"]
    counted(rows(shown, "losses")[1:], losses)
    counted(rows(shown, "gaps")[1:], others - own)
    assert len(shown.findall(".//figure")) == 3


def test_a_strip_says_where_the_rows_of_a_finding_lie(shown: Element) -> None:
    head, *strips = rows(shown, "places")
    lying = {row[0]: dict(zip(head, row, strict=True)) for row in strips}
    nan, label = lying["nan-logit"], lying["label-out-of-range"]
    assert (nan["rows"], nan["first row"], nan["last row"], nan["parts"]) == ("1", "500", "500", "26 of 100")
    assert (label["first row"], label["parts"]) == ("1999", "100 of 100")


def test_a_picture_does_not_depend_on_the_shards(
    xent: Xent, dump: Path, shown: Element, tmp_path: Path
) -> None:
    x, y = arrays(dump)
    for number in range(4):
        some = slice(number * 500, number * 500 + 500)
        np.savez(tmp_path / f"part-{number}.npz", logits=x[some].astype(np.float32), labels=y[some])
    parts = page(xent("diagnose", f"{tmp_path}/part-*.npz", "--format", "html").out)

    for section in ("losses", "gaps"):
        assert rows(parts, section) == rows(shown, section)
    (nan,) = [row for row in rows(parts, "places") if row[0] == "nan-logit"]
    assert nan[4] == f"0 of {tmp_path}/part-1.npz"
    assert nan[-1] == "26 of 100"


def test_a_run_that_resumes_shows_the_same(xent: Xent, dump: Path, tmp_path: Path) -> None:
    words = ("diagnose", dump, "--format", "html", "--resume", tmp_path / "known")

    first, second = xent(*words), xent(*words)

    assert rows(page(first.out), "gaps")
    assert first == second


def test_a_run_that_resumes_for_html_knows_that_other_runs_know_less(
    xent: Xent, dump: Path, tmp_path: Path
) -> None:
    assert xent("diagnose", dump, "--resume", tmp_path / "known").code == 1
    run = xent("diagnose", dump, "--resume", tmp_path / "known", "--format", "html")

    assert run.code == 2
    assert "--format" in run.err


def test_without_the_extra_there_are_tables_and_a_word_on_pictures(
    xent: Xent, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("altair", "vl_convert"):
        monkeypatch.setitem(sys.modules, library, None)
    root = page(xent("diagnose", dump, "--format", "html").out)

    assert root.findall(".//figure") == []
    assert "pip install 'xent[report]'" in text(root.find(".//section[@id='gaps']"))
    assert len(rows(root, "gaps")) > 5


def test_a_dump_without_labels_has_no_histograms(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(5, dtype=np.float32))
    root = page(xent("diagnose", tmp_path / "x.npy", "--format", "html").out)

    assert root.findall(".//figure") == []
    assert root.find(".//section[@id='dump']") is not None


def test_a_top_k_dump_is_tables_alone(xent: Xent, tmp_path: Path) -> None:
    values = np.array([[2.0, 1.0], [np.nan, 1.0]], np.float32)
    indices = np.array([[4, 7], [1, 2]])
    np.savez(tmp_path / "k.npz", values=values, indices=indices, labels=np.array([4, 1]))
    root = page(xent("diagnose", tmp_path / "k.npz", "--top-k", "--format", "html").out)

    assert len(rows(root, "rows")) == 2
    assert root.findall(".//figure") == []


def test_no_report_but_of_a_dump_imports_a_library_of_pictures() -> None:
    code = (
        "import sys\nfrom xentcli.__main__ import main\n"
        "sys.argv = ['xent', 'run', 'abnormal', '--format', 'html']\nmain()\n"
        "sys.exit(bool({'altair', 'vl_convert', 'rich'} & set(sys.modules)))\n"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
