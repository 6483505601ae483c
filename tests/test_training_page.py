"""docs/training.md and README's training script, with the real libraries: what runs, what is printed.

Marked ``frameworks``: .ci/run installs them into an environment of their own and runs these there.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, assert_current
from test_docs import blocks, is_of_training, on_a_terminal, without_line_ends, write_files

from xentcli.bridge import save
from xentcli.bridge.options import MEMORY

PAGE = ROOT / "docs" / "training.md"
BLOCK = re.compile(
    r"(?<=^```python\n)(.*?)(^```\n)(?:(\n```text\n)(.*?)(?=^```$))?", re.MULTILINE | re.DOTALL
)
SAID = re.compile(
    r"(?:step \d+(?:, rank \d+)?: )?(?:loss|gradient of the logits) is .*?look: xent diagnose \S+\.npz"
)
WIDTH = 118
WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
LIBRARIES = ("torch", "transformers", "lightning", "jax", "optax", "keras", "tensorflow")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore"),  # of theirs
]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in LIBRARIES:
        pytest.importorskip(library, reason="is not installed; .ci/run tests with it")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xentcli.bridge.capture.FILES", save.Files())
    for remembered in (MEMORY.calls, MEMORY.good, MEMORY.rows):
        remembered.clear()


def said_by(code: str, names: dict[str, Any]) -> str:
    """Run code; return the message of the exception that ends it, '' if none does."""
    for written in Path().glob("*.npz"):
        written.unlink()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            exec(compile(code, f"<{len(names)} names>", "exec"), names)  # noqa: S102 - our own document
        except Exception as error:  # noqa: BLE001 - the libraries have their own
            kind = type(error)
            own = kind.__module__ == "xentcli"
            message = f"{kind.__module__}.{kind.__qualname__}: {error}" if own else SAID.search(str(error))[0]  # type: ignore[index]
            return " ".join(message.split())
    return ""


def said_by_two_ranks(code: str, folder: Path) -> str:
    """Run a script as two processes that meet; return the last line of each."""
    (folder / "ddp.py").write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-P", "ddp.py", str(rank), str(folder / "meeting")],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in ranks]
    last = [next(line for line in reversed(text.splitlines()) if "BadLoss: " in line) for text in said]
    return "\n".join(line.partition("BadLoss: ")[2] for line in last)


def test_the_page_shows_what_its_code_says(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "page"}

    def written(found: re.Match[str]) -> str:
        code, end, between, shown = found.groups()
        said = said_by_two_ranks(code, tmp_path) if "# ddp.py" in code else said_by(code, names)
        assert (shown is not None) == bool(said), code
        wrapped = "".join(f"{textwrap.fill(line, WIDTH, **WHOLE)}\n" for line in said.splitlines())
        return code + end + (between + wrapped if said else "")

    text = PAGE.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) == text.count("```python") > 8
    assert_current(PAGE, BLOCK.sub(written, text))


def test_the_training_script_of_readme_stops_with_the_cause_that_diagnose_and_explain_name(
    tmp_path: Path,
) -> None:
    readme = ROOT / "README.md"
    write_files(readme, tmp_path)
    (shown,) = [block for block in blocks(readme, "console") if is_of_training(block)]
    commands = re.findall(r"^\$ (.*)$", shown, re.MULTILINE)

    printed = "".join(f"$ {each}\n{on_a_terminal(each, tmp_path, 'ignore')}" for each in commands)

    text = readme.read_text(encoding="utf-8")
    assert_current(readme, text.replace(shown, without_line_ends(printed)))
