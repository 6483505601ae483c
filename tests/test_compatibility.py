"""docs/compatibility.md says what comes out of frameworks today; make compatibility writes it anew."""

import os
from decimal import Decimal

import pytest
from conftest import ROOT

from xentcli import atlas
from xentcli.atlas import Entry
from xentcli.frameworks import FRAMEWORK_METHODS, FrameworkMethod, not_installed, runner
from xentcli.judge import Result, judge
from xentcli.model import Judgement, Outcome

PAGE = ROOT / "docs" / "compatibility.md"
DATE = "2026-11-23"
# Keras' softmax of [8, 0] in float16 is 1 or 1 - 2^-11, as the processor's exp rounds.
BY_PROCESSOR = ("0.0004883 off", "0 collapsed")
RIGHT = Decimal("0.001")  # of the truth: the last digits differ from processor to processor
HEAD = f"""# What frameworks make of the atlas

Written by `make compatibility` on {DATE}, on an x86-64 server processor without a GPU. A cell is *right*
where the loss is within a thousandth of the truth, else the loss and how it stands to it; then the gradient,
where it is not right. A dash: the function cannot take the case. What the truth is, and why, is in
[the atlas](../cases/README.md#the-atlas).
"""


def cell(result: Result, outcome: Outcome, judgement: Judgement | None) -> str:
    """Say what came out of one function on one case."""
    if outcome.inapplicable:
        return "-"
    if outcome.raised or judgement is None:
        return str(outcome.raised).partition(":")[0]
    exact = result.exact.loss
    assert outcome.loss is not None
    near = judgement.verdict == "accurate"
    if not near and judgement.verdict == "off" and exact is not None:
        near = abs(Decimal(outcome.loss) - exact) <= RIGHT * abs(exact)
    said = "right" if near else f"{outcome.loss + 0.0:.4g} {judgement.verdict}"
    said = "nan" if said == "nan nan" else said
    state = None if judgement.gradient is None else judgement.gradient.state
    return said if state in {None, "alive", "zero", "undefined"} else f"{said}, gradient {state}"


def table(folder: str, rows: list[tuple[Entry, Result]]) -> str:
    """Write the cases of a folder down and the functions that take one of them across."""
    cells = [
        {o.method: cell(result, o, j) for o, j in zip(result.outcomes, result.judgements, strict=True)}
        for _, result in rows
    ]
    columns = [m for m in FRAMEWORK_METHODS if any(said.get(m.name, "-") != "-" for said in cells)]
    lines = [["case", *(f"{m.name} {m.library.version}" for m in columns)], ["---"] * (len(columns) + 1)]
    for (entry, _), said in zip(rows, cells, strict=True):
        path = f"../cases/{folder}/{entry.case.name}.yaml".replace("//", "/")
        lines.append([f"[{entry.case.name}]({path})", *(said.get(m.name, "-") for m in columns)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(methods: tuple[FrameworkMethod, ...]) -> str:
    """Run everything and write the page."""
    entries = [entry for entry in atlas.entries() if entry.folder]
    outcomes = runner.run([entry.case for entry in entries], methods)
    results = [judge(entry.case, ran, ()) for entry, ran in zip(entries, outcomes, strict=True)]
    parts = [HEAD]
    for folder in dict.fromkeys(entry.folder for entry in entries):
        rows = [pair for pair in zip(entries, results, strict=True) if pair[0].folder == folder]
        parts.append(f"\n## {folder}\n\n{table(folder, rows)}")
    return "".join(parts)


@pytest.mark.frameworks
def test_the_page_says_what_comes_out_of_frameworks_today() -> None:
    missing = [library.name for library in not_installed()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; .ci/run tests with them")

    written = page(FRAMEWORK_METHODS)

    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(written, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8").replace(*BY_PROCESSOR) == written.replace(*BY_PROCESSOR)
