"""docs/python.md and docs/notebook.ipynb show what a Python that runs their code prints."""

import ast
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, assert_current

PAGE, NOTEBOOK = ROOT / "docs" / "python.md", ROOT / "docs" / "notebook.ipynb"
BLOCK = re.compile(
    r"(?<=^```python\n)(.*?)(^```\n(?:\n```text\n)?)(?:(?<=```text\n)(.*?)(?=^```$))?",
    re.MULTILINE | re.DOTALL,
)


def run(code: str, names: dict[str, Any]) -> tuple[str, Any]:
    """Run code as a notebook does; return what it prints and the value of a last expression."""
    *tree, last = ast.parse(code).body
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(tree, []), "<cell>", "exec"), names)  # noqa: S102 - our own documents
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)  # noqa: S307
        else:
            exec(compile(ast.Module([*tree, last], []), "<cell>", "exec"), names)  # noqa: S102
    return printed.getvalue(), value


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let code write its files where they are thrown away; NumPy's warnings are for other tests."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_the_page_shows_what_its_code_prints() -> None:
    names: dict[str, Any] = {}

    def written(found: re.Match[str]) -> str:
        code, between, shown = found.groups()
        printed, value = run(code, names)
        printed += "" if value is None else f"{value!r}\n"
        assert shown is not None or not printed
        return code + between + printed

    text = PAGE.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) == text.count("```python") > 5
    assert_current(PAGE, BLOCK.sub(written, text))


def outputs(code: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a notebook keeps of a cell: the stream, and the value as text and, if it can, as HTML."""
    printed, value = run(code, names)
    kept: list[dict[str, Any]] = []
    if printed:
        kept.append({"name": "stdout", "output_type": "stream", "text": printed.splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_html_"):
            data = {"text/html": value._repr_html_().splitlines(keepends=True), **data}
        kept.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return kept


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_the_notebook_holds_what_its_cells_give() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = outputs("".join(cell["source"]), names)

    assert sum(cell["cell_type"] == "code" for cell in notebook["cells"]) > 2
    assert_current(NOTEBOOK, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
