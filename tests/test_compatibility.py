"""Results on record say what comes out of frameworks; make compatibility writes them and their pages."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import record_pages
import records
from conftest import assert_current
from records import RESULTS, Record, Threads, on_record

from xentcli import atlas
from xentcli.frameworks import LIBRARIES, not_installed
from xentcli.model import Outcome
from xentcli.run import evaluate

FILES = sorted(RESULTS.glob("*/*.json"))
VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((RESULTS / "record.schema.json").read_text(encoding="utf-8"))
)
# Keras' softmax of [8, 0] in float16 is 1 or 1 - 2^-11, as the processor's exp rounds.
BY_PROCESSOR = {("softmax-collapse", "keras.categorical_crossentropy")}
THREADS = Threads.read()
CASES = {entry.case.name: entry.case for entry in atlas.entries()}


def record(version: str = "1.0", library: str = "optax", cells: Mapping[str, str] | None = None) -> Record:
    """Make a record of marks of optax.integer."""
    marks = cells or {"common-offset": "·"}
    cases = {case: {"optax.integer": {"mark": mark}} for case, mark in marks.items()}
    functions = {"optax.integer": "f(x, k)"}
    return Record({"library": library, "version": version, "functions": functions, "cases": cases})


def test_the_schema_of_records_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_record_follows_its_schema_and_lies_where_it_says(path: Path) -> None:
    fields = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)

    VALIDATOR.validate(fields)
    assert (path.parent.name, path.stem) == (fields["library"], fields["version"])
    assert list(fields["cases"]) == sorted(fields["cases"])
    assert {name for cells in fields["cases"].values() for name in cells} == set(fields["functions"])


@pytest.mark.parametrize(
    "change",
    [
        {"mark": "?"},
        {"verdict": "right"},
        {"loss": "infinite"},
        {"losses": [0.5]},
        {"ulps": -1},
        {"raised": "ValueError"},
    ],
    ids=str,
)
def test_the_schema_refuses_a_cell_of_another_kind(change: dict[str, Any]) -> None:
    fields = json.loads((RESULTS / "optax" / "0.2.8.json").read_text(encoding="utf-8"))
    assert VALIDATOR.is_valid(fields)

    fields["cases"]["common-offset"]["optax.integer"] |= change

    assert not VALIDATOR.is_valid(fields)


def test_at_least_three_libraries_have_more_than_one_version_on_record() -> None:
    assert Counter(len(versions) > 1 for versions in on_record().values())[True] >= 3


def test_versions_are_in_the_order_of_their_numbers() -> None:
    assert sorted(["0.10.0", "0.9.2", "0.9.10"], key=records.ordered) == ["0.9.2", "0.9.10", "0.10.0"]


@pytest.mark.parametrize("name", ["compatibility", "timeline"])
def test_the_page_is_made_of_the_records(name: str) -> None:
    page: Path = getattr(record_pages, name.upper())

    assert_current(page, getattr(record_pages, name)())


def test_a_record_that_differs_by_its_day_alone_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    path = records.write({"library": "l", "version": "1", "date": "2026-01-01", "cases": {}})

    records.write({"library": "l", "version": "1", "date": "2026-02-02", "cases": {}})
    assert json.loads(path.read_text(encoding="utf-8"))["date"] == "2026-01-01"

    records.write({"library": "l", "version": "1", "date": "2026-03-03", "cases": {"c": {}}})
    assert json.loads(path.read_text(encoding="utf-8"))["date"] == "2026-03-03"


@pytest.mark.parametrize(
    ("raised", "word"),
    [
        ("raised ValueError: x: is wrong", "ValueError"),
        ("no answer within 120 s", "no answer within 120 s"),
        ("raised KeyError", "KeyError"),
    ],
)
def test_a_cell_names_the_class_that_was_raised(raised: str, word: str) -> None:
    outcome = Outcome("f", "float32", (), None, None, (), raised=raised)

    assert records.cell(CASES["tail-collapse"], outcome, None) == {"raised": word, "mark": "×"}


def test_a_cell_has_the_losses_only_where_the_case_does_not_reduce_them() -> None:
    reduced, others = (
        records.cells_of(evaluate(replace(CASES["tail-collapse"], reduction=reduction)), {"dense"})["dense"]
        for reduction in ("mean", "none")
    )

    assert ("loss" in reduced, "losses" in reduced) == (True, False)
    assert (others["losses"][1], "loss" in others) == (0.0, False)  # the first to a digit of the processor
    assert (others["verdict"], others["mark"]) == ("collapsed", "0")


# Threads


@pytest.mark.parametrize(
    ("case", "function", "url"),
    [  # by the case itself, by known.toml, of another function, of another library's repository, of none
        ("tail-collapse", "torch.cross_entropy", "https://github.com/pytorch/pytorch/issues/113708"),
        ("tail-collapse", "scipy.log_softmax", "https://github.com/scipy/scipy/issues/19521"),
        ("negative-offset", "optax.integer", "https://github.com/google-deepmind/optax/pull/1792"),
        ("negative-offset", "optax.dense", None),
        ("keras-cap", "keras.categorical_crossentropy", "https://github.com/keras-team/keras/issues/7563"),
        ("keras-cap", "keras.categorical_crossentropy_logits", None),
        ("tail-collapse", "tensorflow.sparse", "https://github.com/tensorflow/tensorflow/issues/62400"),
        ("offset-of-a-million", "tensorflow.sparse", None),
        ("rounded-logits", "torch.cross_entropy", None),
    ],
)
def test_a_cell_leads_to_the_thread_about_it(case: str, function: str, url: str | None) -> None:
    assert THREADS.of(case, function.partition(".")[0], function) == url


def test_every_known_thread_is_about_cells_that_are_wrong_today() -> None:
    newest = {name: versions[-1] for name, versions in on_record().items()}
    for entry in THREADS.known:
        functions = entry.get("functions", newest[entry["library"]].functions)
        for case in entry["cases"]:
            marks = {newest[entry["library"]].marks.get((case, name)) for name in functions}
            assert marks - {None, *records.RIGHT}, (entry, case)


def test_a_wrong_cell_alone_is_linked() -> None:
    key = ("common-offset", "optax.integer")
    url = "https://github.com/google-deepmind/optax/pull/1792"

    assert record_pages.linked("0", THREADS, record(), key) == f"[0]({url})"
    assert record_pages.linked("·", THREADS, record(), key) == "·"


# The timeline


@pytest.mark.parametrize(
    ("before", "after", "sentences"),
    [
        ("·", "·", []),
        ("0", "0", []),
        ("·", "0", ["With optax 2.0, 1 cell of `optax.integer` became wrong."]),
        ("0", "·", ["With optax 2.0, 1 cell of `optax.integer` became right."]),
        ("0", "off", ["With optax 2.0, 1 cell of `optax.integer` changed and stayed wrong."]),
    ],
)
def test_the_timeline_says_what_a_version_changed(before: str, after: str, sentences: list[str]) -> None:
    versions = [record("1.0", cells={"common-offset": before}), record("2.0", cells={"common-offset": after})]

    assert record_pages.changes(versions) == sentences


def test_a_case_without_a_true_loss_is_no_change() -> None:
    versions = [record("1.0", cells={"nan-logit": ""}), record("2.0", cells={"nan-logit": "×"})]

    assert record_pages.changes(versions) == []
    assert record_pages.count_same(versions) == (0, 0)


def test_a_function_that_a_version_lacks_is_no_change() -> None:
    versions = [record("1.0", cells={"common-offset": "·"}), record("2.0", cells={"negative-offset": "0"})]

    assert record_pages.changes(versions) == []
    assert record_pages.count_same(versions) == (2, 2)


# Today


@pytest.mark.frameworks
def test_the_record_of_a_version_says_what_comes_out_of_it_today() -> None:
    """Marks are compared: the last digits of some libraries depend on the processor."""
    missing = [library.name for library in not_installed()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; .ci/run tests with them")
    known = {
        (record.library, record.version): record for versions in on_record().values() for record in versions
    }

    for fields in records.take(list(LIBRARIES), "2026-01-01"):
        today = Record(fields)
        on_paper = known[today.library, today.version]
        assert without(today.marks) == without(on_paper.marks)


def without(marks: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    return {key: mark for key, mark in marks.items() if key not in BY_PROCESSOR}
