"""docs/compatibility.md says what comes out of frameworks today; make compatibility writes it anew."""

import os

import pytest
from conftest import ROOT

from xentcli import atlas
from xentcli.frameworks import FRAMEWORK_METHODS, FrameworkMethod, not_installed, runner
from xentcli.judge import judge
from xentcli.show import markdown, matrix
from xentcli.show.sheet import Sheet

PAGE = ROOT / "docs" / "compatibility.md"
DATE = "2026-11-26"
# Keras' softmax of [8, 0] in float16 is 1 or 1 - 2^-11, as the processor's exp rounds.
ROW = "[softmax-collapse](../cases/cancellation/softmax-collapse.yaml) | 0.000335 | · | · |"
BY_PROCESSOR = (f"{ROW} off |", f"{ROW} 0 |")
HEAD = f"""# What frameworks make of the atlas

The table of `xent compare --methods frameworks`, written by `make compatibility` on {DATE}, on an
x86-64 server processor without a GPU. A cell says how the loss of a function stands to the true one: · right,
and its gradient too; *nan* or *inf*; *0*, *cap* and *off*, wrong in silence; ∇ the loss right and its
gradient not; × raised an error; blank where the function does not support the case. What the truth is, and
why, is in [the atlas](../cases/README.md#the-atlas).

VERSIONS
"""


def linked(sheet: Sheet) -> Sheet:
    """Link each case to its file."""
    folder = f"../cases/{sheet.title}/"
    rows = tuple((f"[{name}]({folder}{name}.yaml)", *row) for name, *row in sheet.rows)
    return Sheet("", sheet.columns, rows)


def page(methods: tuple[FrameworkMethod, ...]) -> str:
    """Run everything and write the page."""
    cases = [entry.case for entry in atlas.entries() if entry.folder]
    outcomes = runner.run(cases, methods)
    results = [judge(case, ran, ()) for case, ran in zip(cases, outcomes, strict=True)]
    libraries = dict.fromkeys(f"{method.library.name} {method.library.version}" for method in methods)
    parts = [HEAD.replace("VERSIONS", f"Versions: {', '.join(libraries)}.")]
    folders = matrix.by_folder(results)
    for kind in (False, True):
        counted = [result for result in results if result.case.batch.binary is kind]
        chosen = {folder: some for folder, some in folders.items() if some[0].case.batch.binary is kind}
        *sheets, counts = matrix.sheets(chosen, counted, matrix.columns_of(counted))
        parts += [f"\n## {sheet.title}\n\n{table(linked(sheet))}" for sheet in sheets]
        parts.append(f"\n## right, {'binary' if kind else 'softmax'}\n\n{table(counts)}")
    return "".join(parts)


def table(sheet: Sheet) -> str:
    """Write a Markdown table whose links are links."""
    return markdown.render([sheet]).replace("\\[", "[").replace("\\]", "]")


@pytest.mark.frameworks
def test_the_page_says_what_comes_out_of_frameworks_today() -> None:
    missing = [library.name for library in not_installed()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; .ci/run tests with them")

    written = page(FRAMEWORK_METHODS)

    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(written, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8").replace(*BY_PROCESSOR) == written.replace(*BY_PROCESSOR)
