"""docs/check-reference.md has every check, what it asserts and who broke it, and every convention."""

import os
import re
from collections.abc import Iterable

import pytest
from conftest import ROOT, assert_current
from generated import short

from xentcli import atlas
from xentcli.atlas import Entry
from xentcli.check.plan import CONTRACT, plan
from xentcli.check.properties import PROPERTIES
from xentcli.check.report import SEARCH
from xentcli.frameworks.conventions import CHUNKS, CONVENTIONS, COUNT, NAMES, find_convention

PAGE = ROOT / "docs" / "check-reference.md"
UNKNOWN = "no public case known"
ROW = re.compile(r"^\| \[?`([\w-]+)`\S* \| .* \| (.*) \|$", re.MULTILINE)


def table_of(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def section_of(name: str) -> str:
    """Return what stands between the marks of a section."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name}, generated")
    text, end, _ = rest.partition(f"<!-- the end of {name} -->")
    assert end, f"{name} begins and ends"
    return text.partition("\n")[2]


def assert_section_is_current(name: str, text: str) -> None:
    end = f"<!-- the end of {name} -->"
    assert_current(PAGE, PAGE.read_text(encoding="utf-8").replace(f"{section_of(name)}{end}", f"{text}{end}"))


def case_row(entry: Entry) -> tuple[str, ...]:
    """Return a case's row: its page, its title, where it was reported of which versions."""
    about = entry.case.about
    links = ", ".join(f"[{short(source.url)}]({source.url})" for source in about.sources)
    affected = "; ".join(f"{each.library} {each.versions}, {each.state}" for each in about.affects)
    folder = f"{entry.folder}/" if entry.folder else ""
    return (
        entry.folder or "blog",
        f"[`{entry.case.name}`](../cases/{folder}{entry.case.name}.yaml)",
        about.title,
        ": ".join(part for part in (links, affected) if part) or UNKNOWN,
    )


def who_broke(section: str) -> dict[str, str]:
    """Return the last column of a table, by check."""
    return dict(ROW.findall(section_of(section)))


def test_the_page_has_every_case_of_the_atlas_but_those_between_calls() -> None:
    calls = [entry for entry in atlas.entries() if entry.case.batch.is_one_call]
    head = (("category", "check", "what it asserts", "who broke it"), ("---",) * 4)
    assert_section_is_current("the cases", table_of((*head, *map(case_row, calls))))


@pytest.mark.parametrize(
    ("section", "asserts"),
    [("the properties", {each.name: each.asserts for each in PROPERTIES}), ("the contract", CONTRACT)],
)
def test_the_page_has_what_every_property_and_the_contract_assert(
    section: str, asserts: dict[str, str]
) -> None:
    """The last column is written by hand, and is kept."""
    known = who_broke(section)
    tolerance = ", and to what tolerance" if section == "the properties" else ""
    head = (("check", f"what it asserts{tolerance}", "who broke it"), ("---",) * 3)
    rows = ((f"`{name}`", text, known.get(name, UNKNOWN)) for name, text in asserts.items())

    assert_section_is_current(section, table_of((*head, *rows)))
    if not os.environ.get("UPDATE_GOLDEN"):
        assert list(known) == list(asserts)


def test_the_page_says_who_broke_a_property_by_a_thread_a_baseline_or_that_nobody_is_known() -> None:
    for name, who in {**who_broke("the properties"), **who_broke("the contract")}.items():
        is_said = UNKNOWN in who or "](https://" in who or who.endswith(" (tried)")
        assert is_said, name
        if UNKNOWN in who and who != UNKNOWN:
            assert who.endswith(" (`results/baselines`)"), name


def test_the_page_has_the_checks_of_every_plan_and_no_others() -> None:
    parameters = (*NAMES, "reduction", "bias", CHUNKS[0], COUNT)
    # What a property asks for may depend on how a library's arrays lie in memory: torch's stand for all.
    kinds = {
        (each.labels, each.linear, each.probabilities): each
        for each in sorted(CONVENTIONS.values(), key=lambda each: each.library == "torch")
    }
    plans = [plan(each, parameters, gradient=True, autodiff=True) for each in kinds.values()]
    mean = find_convention("torch", "", "mean")
    plans += [plan(mean, (COUNT,), gradient=True, autodiff=True)]
    page = PAGE.read_text(encoding="utf-8")
    cases = re.findall(r"^\| \w[\w-]* \| \[`([\w-]+)`\]", section_of("the cases"), re.MULTILINE)

    named = {*cases, *who_broke("the properties"), *who_broke("the contract"), SEARCH}

    assert {spec.name for specs in plans for spec in specs} <= named
    # Some cases are of probabilities and logits that no convention has.
    assert named - {spec.name for specs in plans for spec in specs} <= set(cases)
    assert f"\n`{SEARCH}` asserts" in page


def test_the_page_has_every_convention() -> None:
    head = (("convention", "call", "arrays of"), ("---",) * 3)
    called = ((f"`{c.name}`", f"`{c.signature}`", c.library) for c in CONVENTIONS.values())

    assert_section_is_current("the conventions", table_of((*head, *called)))
