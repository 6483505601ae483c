"""The command line as a person or a program meets it: streams, exit codes, options, files, refusals."""

import csv
import io
import json
from pathlib import Path

import pytest
from conftest import CASES, WRONG, Xent, program

from xentcli import __version__, words
from xentcli.frameworks import FRAMEWORK_METHODS
from xentcli.methods import table as methods

BLOG = [str(CASES / f"{name}.yaml") for name in ("normal-3x3", "normal-10class", "abnormal")]


# Exit codes and streams


def test_what_is_expected_and_reproduced_exits_0(xent: Xent) -> None:
    done = xent("run", *BLOG)

    assert done.code == 0
    assert "6.72853e+30" in done.out
    assert done.err == "72 of 72 printed numbers reproduced\n"


def test_what_is_not_reproduced_exits_1_and_is_named(xent: Xent, wrong: Path) -> None:
    for command in ("run", "compare"):
        done = xent(command, wrong)

        assert done.code == 1
        assert done.err == "1 of 2 printed numbers reproduced; not reproduced: wrong (dense)\n"


def test_nothing_expected_exits_0(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: t\nlogits: [[1, 2]]\nlabels: [0]\n", encoding="utf-8")

    done = xent("run", tmp_path / "mine.yaml")

    assert (done.code, done.err) == (0, "no expectations in 1 case\n")


@pytest.mark.parametrize(
    "options",
    [["--methods", "all"], ["--dtype", "float16"], ["--arithmetic", "eigen"], ["--reduction", "sum"]],
)
def test_an_override_sets_expectations_aside(xent: Xent, wrong: Path, options: list[str]) -> None:
    done = xent("run", wrong, *options)

    assert done.code == 0
    assert done.err.endswith(f"; not checked, because of {options[0]}\n")
    assert "expected" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "name a case"),
        (["run", "abnormul"], "abnormul: no such file, folder or bundled case; did you mean 'abnormal'?"),
        (["run", "no/such/file.yaml"], "no such file, folder or bundled case"),
        (["run", "tests/golden"], "tests/golden: no case in this folder; case files end in .yaml or .yml"),
        (["run", "abnormal\0"], "abnormal\\x00: no file has such a name"),
        (["run", "abnormal", "--methods", "nave"], "unknown method 'nave'; did you mean 'naive'?"),
        (["run", "abnormal", "--methods", ","], "no method named; known are naive"),
        (["run", "abnormal", "--dtype", "float23"], "'float23' is not one of"),
        (["run", "abnormal", "--format", "yaml"], "'yaml' is not one of"),
        (["run", "abnormal", "--metods", "all"], "--methods"),
        (["run", "abnormal", "--dtype", "float64"], "arithmetic eigen supports float32, not float64"),
        (["run", "abnormal", "--dtype", "float16", "--arithmetic", "numpy"], "is too large for float16"),
        (["cases", "show", "abnormul"], "no such file, folder or bundled case; did you mean 'abnormal'?"),
        (["run", ""], "'': no file has such a name"),
        (["compare", "--dtype", "float64", "--arithmetic", "eigen"], "arithmetic eigen supports float32"),
        (["explode"], "No such command"),
    ],
)
def test_bad_usage_exits_2_with_one_message(xent: Xent, arguments: list[str], message: str) -> None:
    done = xent(*arguments)

    assert done.code == 2
    assert message in done.err
    assert done.out == ""


def test_all_problems_of_all_files_are_told_at_once_and_nothing_runs(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("title: t\nlogits: [[1, x]]\nlabels: [y]\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("- 1\n", encoding="utf-8")

    done = xent("run", BLOG[0], tmp_path / "a.yaml", tmp_path / "b.yaml", "missing.yaml")

    assert (done.code, done.out) == (2, "")
    places = [line.split(":")[0:3] for line in done.err.splitlines() if line.startswith(str(tmp_path))]
    assert [[Path(place[0]).name, *place[1:]] for place in places] == [
        ["a.yaml", "2", "14"],
        ["a.yaml", "3", "10"],
        ["b.yaml", "1", "1"],
    ]
    assert "missing.yaml: no such file" in done.err


@pytest.mark.parametrize("command", ["run", "compare"])
def test_help_has_examples_exit_codes_and_variables(xent: Xent, command: str) -> None:
    done = xent(command, "--help")

    assert done.code == 0
    for words_ in ("Examples:", "Exit codes: 0", "XENT_METHODS is --methods", "-o, --output"):
        assert words_ in done.out


def test_version(xent: Xent) -> None:
    assert xent("--version").out == f"xent {__version__}\n"


# Naming cases


def test_a_bundled_case_a_file_a_folder_and_stdin_are_cases(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.yml", "a.yaml", "sub/c.yaml", "notes.txt"):
        (tmp_path / name).write_text("title: t\nlogits: [[1, 2]]\nlabels: [0]\n", encoding="utf-8")

    done = program("run", "abnormal", BLOG[0], tmp_path, "-", "--format", "json", text=WRONG)

    cases = json.loads(done.stdout)["cases"]
    assert [case["name"] for case in cases] == ["abnormal", "normal-3x3", "a", "b", "c", "stdin"]
    assert cases[-1]["path"] == "-"
    assert done.returncode == 1


def test_compare_without_a_case_takes_all_bundled_ones(xent: Xent) -> None:
    done = xent("compare", "--methods", "sparse,bce_with_logits", "--format", "json")

    assert done.code == 0
    assert {case["name"] for case in json.loads(done.out)["cases"]} == {
        path.stem for path in CASES.rglob("*.yaml")
    }


@pytest.mark.parametrize("size", [8 * 2**20 + 1, 2**30])
def test_a_file_too_large_to_be_a_case_is_refused(xent: Xent, tmp_path: Path, size: int) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(size)

    done = xent("run", tmp_path / "huge.yaml")

    assert (done.code, done.err) == (
        2,
        f"{tmp_path}/huge.yaml: larger than 8 MiB; a case is a batch of a few rows\n",
    )


def test_an_endless_stream_is_refused() -> None:
    with Path("/dev/zero").open("rb") as endless:
        done = program("run", "-", stdin=endless)

    assert (done.returncode, done.stderr) == (2, "-: larger than 8 MiB; a case is a batch of a few rows\n")


def test_an_unreadable_file_is_refused(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")

    done = xent("run", tmp_path / "loop.yaml")

    assert done.code == 2
    assert done.err.startswith(f"{tmp_path}/loop.yaml: cannot be read: ")


# Options


def test_every_option_can_be_a_variable(xent: Xent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {
        "METHODS": "sparse",
        "DTYPE": "float64",
        "ARITHMETIC": "numpy",
        "REDUCTION": "sum",
        "FORMAT": "json",
        "OUTPUT": str(tmp_path / "out.json"),
        "VERBOSE": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"XENT_{name}", value)

    done = xent("run", "abnormal")

    (case,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["cases"]
    assert (done.code, done.out) == (0, "")
    assert (case["dtype"], case["arithmetic"], case["reduction"]) == ("float64", "numpy", "sum")
    assert [method["method"] for method in case["methods"]] == ["sparse"]


def test_methods_come_in_the_order_of_the_table(xent: Xent) -> None:
    done = xent("run", "abnormal", "--methods", "sparse,naive, sparse", "--format", "json")

    assert [m["method"] for m in json.loads(done.out)["cases"][0]["methods"]] == ["naive", "sparse"]


def test_reduction_none_has_losses_and_no_loss(xent: Xent) -> None:
    done = xent("run", "normal-3x3", "--reduction", "none", "--format", "json")

    (case,) = json.loads(done.out)["cases"]
    assert case["methods"][2]["loss"] is None
    assert case["methods"][2]["losses"] == [0.6657319, 1.4657319, 0.8283902]


def test_a_method_that_cannot_take_soft_labels_says_so(xent: Xent, tmp_path: Path) -> None:
    (tmp_path / "soft.yaml").write_text(
        "title: t\nlogits: [[1, 2]]\nlabels: [[0.5, 0.5]]\n", encoding="utf-8"
    )

    done = xent("run", tmp_path / "soft.yaml", "--format", "json")

    sparse = json.loads(done.out)["cases"][0]["methods"][3]
    assert sparse == {
        "method": "sparse",
        "loss": None,
        "losses": [],
        "inapplicable": "expects one class per example, not soft labels",
    }
    assert "expects one class per example" in xent("run", tmp_path / "soft.yaml").out


def test_listings(xent: Xent) -> None:
    listed = json.loads(xent("methods", "--format", "json").out)
    known = (*methods.METHOD_NAMES, *(method.name for method in FRAMEWORK_METHODS))
    assert [row["method"] for row in listed] == list(known)

    cases = list(csv.DictReader(io.StringIO(xent("cases", "--format", "csv").out)))
    assert [row["case"] for row in cases if not row["folder"]] == ["abnormal", "normal-10class", "normal-3x3"]
    assert {row["case"] for row in cases} == {path.stem for path in CASES.rglob("*.yaml")}


def test_cases_show_prints_the_file(xent: Xent) -> None:
    assert xent("cases", "show", "abnormal").out == (CASES / "abnormal.yaml").read_text(encoding="utf-8")


def test_completion_knows_cases_and_methods() -> None:
    def complete(line: str) -> str:
        count = str(len(line.split(" ")) - 1)
        env = {"_XENT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": count}
        return program(env=env).stdout

    assert "plain,abnormal" in complete("xent run ab")
    assert "plain,naive,sparse" in complete("xent run --methods naive,sp")
    assert "plain,normal-3x3" in complete("xent cases show normal-3")


def test_the_arithmetics_offered_are_those_there_are() -> None:
    from xentcli.methods import arithmetic

    assert tuple(entry.name for entry in arithmetic.ARITHMETICS) == words.ARITHMETICS


# The smallest experiment, quiet, the format of a file


def test_logits_on_the_command_line_are_a_case(xent: Xent) -> None:
    done = xent("run", "--logits", "[[0, 1000]]", "--labels", "0", "--methods", "naive,dense")

    assert done.code == 0
    sentence = " ".join(done.out.partition("\n\n")[0].split())
    assert sentence == "naive is inf because log 0 is -inf, and its gradient is nan; dense is right."
    assert "xent explain" not in done.out  # there is no file to name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--logits", "[[0, 1", "--labels", "0"], "--logits and --labels:"),
        (["--logits", "[[0, 1]]"], "--logits and --labels go together, in place of a case"),
        (["abnormal", "--logits", "[[0, 1]]", "--labels", "0"], "go together, in place of a case"),
        (["--logits", "[[0, 1]]", "--labels", "2"], "the label 2 is out of range; 2 classes are 0 to 1"),
        (["--logits", "[[0, 1]]", "--labels", "0\nclip: [1, 1, 1]"], "--logits and --labels:"),
    ],
)
def test_what_is_wrong_with_them_is_said(xent: Xent, arguments: list[str], message: str) -> None:
    done = xent("run", *arguments)

    assert done.code == 2
    assert message in done.err


def test_quiet_leaves_the_results(xent: Xent) -> None:
    loud, quiet = xent("run", "abnormal"), xent("run", "abnormal", "--quiet")

    assert quiet.out == loud.out
    assert (quiet.err, loud.err) == ("", "26 of 26 printed numbers reproduced\n")


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("out.json", "{"),
        ("out.csv", "case,"),
        ("out.md", "naive is nan"),
        ("out.xml", "<testsuites"),
        ("out", "naive is nan"),
    ],
)
def test_the_suffix_of_the_output_is_its_format(xent: Xent, tmp_path: Path, name: str, begins: str) -> None:
    xent("run", "abnormal", "-o", tmp_path / name)
    xent("run", "abnormal", "-o", tmp_path / f"plain-{name}", "--format", "plain")

    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    assert (tmp_path / f"plain-{name}").read_text(encoding="utf-8").startswith("naive is nan")


def test_a_file_of_arrays_is_pointed_to_diagnose(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(b"PK\x03\x04\x00\xe8")

    done = xent("run", path)

    assert done.code == 2
    assert done.err == f"{path}: is a dump of arrays, not a case; 'xent diagnose {path}' reads it\n"


def test_help_fits_80_columns_and_names_tasks(xent: Xent) -> None:
    shown = xent("--help").out

    assert max(map(len, shown.splitlines())) <= 80
    assert "..." not in shown.partition("Options:")[2]
    tasks = [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert tasks == ["Options:", "Reproduce:", "Explain:", "My loss:", "My dump:", "Look up:"]
