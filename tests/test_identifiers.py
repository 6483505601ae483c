"""Identifiers never move: the list is held against a record of every number that was ever handed out."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from conftest import GOLDEN, Xent

from xentcli import identifiers
from xentcli.judge.findings import FINDINGS
from xentcli.load.sources import bundled

RECORD = GOLDEN / "identifiers.txt"
NAMES = {
    "finding": [finding.name for finding in FINDINGS],
    "case": sorted(path.stem for path in bundled()),
}


def table() -> dict[str, str]:
    text = identifiers.LIST.read_text(encoding="utf-8")
    return {key: name for key, name in tomllib.loads(text).items() if key != "past"}


def past() -> dict[str, list[str]]:
    return tomllib.loads(identifiers.LIST.read_text(encoding="utf-8"))["past"]


def recorded() -> list[tuple[str, str]]:
    return [(line[:6], line[7:]) for line in RECORD.read_text(encoding="utf-8").splitlines()]


def append_new(kind: str, names: list[str], table_file: Path, record_file: Path) -> None:
    """Give the names of a kind that have no number the next ones, in the list and in the record."""
    text = table_file.read_text(encoding="utf-8")
    record = [line.split() for line in record_file.read_text(encoding="utf-8").splitlines()]
    used = [key for key, _ in record if identifiers.kind_of(key) == kind]
    known = {name for key, name in re.findall(r'^(XE\d{4}) = "(.+)"$', text, re.MULTILINE) if key in used}
    for number, name in enumerate((name for name in names if name not in known), int(max(used)[2:]) + 1):
        last = max(key for key in re.findall(r"^XE\d{4}", text, re.MULTILINE) if key in used)
        key = f"XE{number:04}"
        used.append(key)
        text = re.sub(rf"^{last} = .*$", rf'\g<0>\n{key} = "{name}"', text, flags=re.MULTILINE)
        record.append([key, name])
    table_file.write_text(text, encoding="utf-8")
    record_file.write_text("".join(f"{key} {name}\n" for key, name in sorted(record)), encoding="utf-8")


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_has_exactly_one_identifier(kind: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        append_new(kind, NAMES[kind], identifiers.LIST, RECORD)
    of_kind = {key: name for key, name in table().items() if identifiers.kind_of(key) == kind}

    assert sorted(of_kind.values()) == sorted(NAMES[kind])


def test_no_recorded_identifier_has_moved_or_vanished() -> None:
    present, earlier = table(), past()

    for key, name in recorded():
        assert name in {present.get(key), *earlier.get(key, [])}, key
    assert present.keys() <= {key for key, _ in recorded()}


def test_a_new_name_gets_the_next_number_of_its_kind_and_moves_no_other(tmp_path: Path) -> None:
    copy, record = tmp_path / "identifiers.toml", tmp_path / "identifiers.txt"
    copy.write_text('XE0101 = "b"\n\nXE1001 = "x"\nXE1002 = "y"\n\n[past]\n', encoding="utf-8")
    record.write_text("XE0101 b\nXE1001 x\nXE1002 y\n", encoding="utf-8")

    append_new("finding", ["a", "b", "c"], copy, record)

    assert copy.read_text(encoding="utf-8").startswith('XE0101 = "b"\nXE0102 = "a"\nXE0103 = "c"\n\nXE1001')
    assert record.read_text(encoding="utf-8") == "XE0101 b\nXE0102 a\nXE0103 c\nXE1001 x\nXE1002 y\n"


@pytest.mark.parametrize(
    ("arguments", "begun"),
    [
        (["cases", "XE1001"], "abnormal: A diverged CNN's logits near 1e31\n"),
        (["cases", "xe1001"], "abnormal: "),
        (["cases", "show", "XE1001"], "# yaml-language-server"),
        (["findings", "Xe0102"], "log-of-zero: "),
        (["run", "XE1001"], "naive is nan because 0 × log 0 is nan;"),
        (["explain", "XE1001"], "naive gives nan"),
    ],
)
def test_an_identifier_stands_for_its_name(xent: Xent, arguments: list[str], begun: str) -> None:
    done = xent(*arguments)

    assert (done.code, done.out[: len(begun)]) == (0, begun)


def test_an_identifier_of_the_other_kind_is_refused_with_the_command_that_takes_it(xent: Xent) -> None:
    assert xent("findings", "XE1001").err == "'XE1001' is a case: xent cases abnormal\n"
    assert xent("cases", "XE0102").err == "'XE0102' is a finding: xent findings log-of-zero\n"
    assert xent("cases", "XE9999").err.startswith("unknown case 'XE9999'")


def test_the_page_of_a_name_shows_its_identifier(xent: Xent) -> None:
    assert re.search(r"^ +identifier +XE1001$", xent("cases", "abnormal").out, re.MULTILINE)
    assert re.search(r"^ +identifier +XE0102$", xent("findings", "log-of-zero").out, re.MULTILINE)


def test_a_case_and_a_finding_of_the_same_name_have_an_identifier_each(xent: Xent) -> None:
    finding, case = (identifiers.identifier(kind, "nan-logit") for kind in ("finding", "case"))

    assert finding != case
    assert xent("cases", case).out.startswith("nan-logit: A nan logit gives nan by every method")
    assert xent("findings", finding).out.startswith("nan-logit: A logit is nan before")
