"""Every console block in the documents is run on a terminal of 80 columns, and prints what it shows."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import CASES, ROOT, first

from xentcli import load, words
from xentcli.methods import table as methods

PAGES = (
    "check.md",
    "loss-protocol.md",
    "programs.md",
    "sweep.md",
    "top-k.md",
    "tutorial/nan.md",
    "tutorial/stuck.md",
    "tutorial/own-loss.md",
)
DOCUMENTS = [ROOT / "README.md", ROOT / "cases" / "README.md", *(ROOT / "docs" / page for page in PAGES)]
CHECKS = {"docs/check.md", "docs/tutorial/own-loss.md"}
MADE = re.compile(r"(\.\./)?atlas/(index|findings|XE\d{4})\.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    found = BLOCK.findall(document.read_text(encoding="utf-8"))
    return [text for name, text in found if name == language]


def on_a_terminal(command: str, folder: Path, warnings: str = "error") -> str:
    """Run a command with a terminal for both streams and return what is on it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ,
        "PATH": path,
        "NO_COLOR": "1",
        "LC_ALL": "C.UTF-8",
        "PYTHONWARNINGS": warnings,
    }
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    ):
        os.close(terminal)
        shown = b""
        while chunk := read(controller):
            shown += chunk
    os.close(controller)
    text = shown.decode().replace("\r\n", "\n")
    return re.sub(r"[^\n]*\r", "", text)  # progress is written over


def is_of_training(block: str) -> bool:
    """Whether a block begins with a training script, which needs torch: test_training_page.py runs it."""
    return block.startswith("$ python train.py")


def read(controller: int) -> bytes:
    try:
        return os.read(controller, 65536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def written_out(block: str, folder: Path) -> str:
    """Run the commands of a block and write the block anew."""
    commands = re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    return "".join(f"$ {command}\n{on_a_terminal(command, folder)}" for command in commands)


def write_files(document: Path, folder: Path) -> None:
    """Write the blocks that say in their first line which file they are."""
    for text in (*blocks(document, "yaml"), *blocks(document, "toml"), *blocks(document, "python")):
        if name := re.match(r"# (\w+\.(?:yaml|toml|py))\n", text):
            (folder / name[1]).write_text(text, encoding="utf-8")


def marked(document: Path) -> Any:
    """Name the test of a document, and mark it slow where it runs whole checks."""
    name = str(document.relative_to(ROOT))
    return pytest.param(document, id=name, marks=[pytest.mark.slow] if name in CHECKS else [])


def without_line_ends(text: str) -> str:
    """Drop the spaces that rich leaves at the end of a wrapped line."""
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


def masked(text: str) -> str:
    """Mask the worst errors of a check: of float64 they depend on the exp of NumPy and processor."""
    row = re.compile(r"^(│? ?[\w-]+ +│? ?\d+ +│? ?\d+ +│? ?)\S+ *", re.MULTILINE)
    return row.sub(lambda found: found[1] + "# ", text)


@pytest.mark.parametrize("document", first(1, [marked(each) for each in DOCUMENTS]))
def test_console_blocks_show_what_is_printed(document: Path, tmp_path: Path) -> None:
    (tmp_path / "cases").symlink_to(CASES)
    write_files(document, tmp_path)
    shown = [block for block in blocks(document, "console") if not is_of_training(block)]

    printed = [without_line_ends(written_out(block, tmp_path)) for block in shown]

    if os.environ.get("UPDATE_GOLDEN"):
        whole = document.read_text(encoding="utf-8")
        for block, text in zip(shown, printed, strict=True):
            whole = whole.replace(f"```console\n{block}```", f"```console\n{text}```")
        document.write_text(whole, encoding="utf-8")
    same = masked if document.name == "check.md" else str
    if not os.environ.get("UPDATE_GOLDEN"):
        assert same("".join(shown)) == same("".join(printed)) != ""


def test_readme_has_its_two_commands_on_a_line_each() -> None:
    run, test = blocks(ROOT / "README.md", "sh")

    assert run.count("\n") == test.count("\n") == 1
    assert run.startswith("python3 -m venv .venv && ")
    assert run.endswith("xent run cases/abnormal.yaml\n")
    assert test.startswith("python3 -m venv .venv && ")
    assert test.endswith("pytest\n")


def test_the_format_page_names_every_key_quantity_and_arithmetic() -> None:
    page = (CASES / "README.md").read_text(encoding="utf-8")

    quantities = [quantity.name for quantity in methods.QUANTITIES]
    for word in (
        *load.KEY_NAMES,
        *quantities,
        *methods.METHOD_NAMES,
        *words.ARITHMETICS,
        *words.DTYPES,
        *words.REDUCTIONS,
    ):
        assert f"`{word}`" in page


def test_documents_link_to_files_that_are_there() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "cases" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            is_made = MADE.fullmatch(target)  # by make site, whose tests follow its links
            assert is_made or target.startswith("https://") or (document.parent / target).exists(), target


def test_the_page_of_speed_has_what_its_command_writes() -> None:
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    written = page.partition("--write: begin -->")[2].partition("<!-- end -->")[0]

    assert re.search(
        r"^Measured on 20\d\d-\d\d-\d\d, \d+ rounds, with \d+ processors of ", written, re.MULTILINE
    )
    for dtype in ("float32", "float16", "bfloat16"):
        for title in ("Losses", "Losses and gradients"):
            table = written.partition(f"\n{title}, {dtype}:\n\n")[2].partition("\n\n")[0].splitlines()
            assert table[0].startswith("| C | logits | ms | xent fast | xent numpy |")
            cells = [tuple(line.split(" | ")[:2]) for line in table[2:]]
            assert cells == [
                (f"| {classes:,}", kind)
                for classes in (10, 50, 100, 1000, 32_000, 131_072)
                for kind in ("untrained", "trained")
            ]
