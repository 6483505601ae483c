"""docs/scale.md shows what a Python that runs its code prints; Ray is one that calls at once."""

import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from conftest import ROOT, assert_current
from test_python_page import BLOCK, run

pytest.importorskip("distributed", reason="is not installed: pip install 'xent[dask]'")
PAGE = ROOT / "docs" / "scale.md"


def ray() -> ModuleType:
    """Return as much of Ray as the page needs; a task calls its function, and gives the result when asked."""
    module: Any = ModuleType("ray")
    module.remote = lambda function: SimpleNamespace(remote=partial(partial, function))
    module.wait = lambda tasks: (tasks[-1:], tasks[:-1])  # in another order than they were begun
    module.get = lambda task: task()
    return cast("ModuleType", module)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_the_page_shows_what_its_code_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", ray())
    names: dict[str, Any] = {}

    def written(found: Any) -> str:
        code, between, shown = found.groups()
        printed, _ = run(code, names)
        assert shown is not None or not printed
        return str(code + between + printed)

    text = PAGE.read_text(encoding="utf-8")
    assert text.count("```python") == 2
    assert_current(PAGE, BLOCK.sub(written, text))
