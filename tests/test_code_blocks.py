"""Every code block of a document is run by some test, or says why it cannot be."""

import re
from pathlib import Path

import pytest
from conftest import ROOT, Xent
from test_docs import BLOCK, blocks, write_files

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "cases/README.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/tutorial/*.md")),
    *sorted(ROOT.glob("docs/reference/*.md")),
]

# A document's languages → what runs its blocks of them. Console blocks are run on a terminal, in a folder
# with the blocks that begin with the name of a file.
RUN = {
    "README.md": {
        "console": "test_docs.py",
        "python": "test_docs.py",
        "yaml": "test_docs.py",
        "sh": "../.ci/run",
    },
    "cases/README.md": {"console": "test_docs.py", "yaml": "test_docs.py"},
    "docs/check.md": {
        "console": "test_docs.py",
        "python": "test_docs.py",
        "toml": "test_docs.py",
        "yaml": "test_github.py",
    },
    "docs/check-reference.md": {
        "python": "test_testing.py",
        "sh": "test_code_blocks.py",
        "toml": "test_baseline.py",
    },
    "docs/index.md": {"sh": "test_code_blocks.py"},
    "docs/loss-protocol.md": {
        "c": "test_program.py",
        "console": "test_docs.py",
        "json": "test_program.py",
        "python": "test_docs.py",
        "sh": "test_program.py",
    },
    "docs/programs.md": {"console": "test_docs.py"},
    "docs/python.md": {"python": "test_python_page.py", "text": "test_python_page.py"},
    "docs/scale.md": {"python": "test_scale_page.py", "text": "test_scale_page.py"},
    "docs/sweep.md": {"console": "test_docs.py"},
    "docs/top-k.md": {"console": "test_docs.py", "python": "test_docs.py"},
    "docs/training.md": {"python": "test_training_page.py", "text": "test_training_page.py"},
    "docs/tutorial/nan.md": {"console": "test_docs.py", "python": "test_docs.py"},
    "docs/tutorial/own-loss.md": {"console": "test_docs.py", "python": "test_docs.py"},
    "docs/tutorial/stuck.md": {"console": "test_docs.py"},
}
# How a block begins that nothing runs, and why.
NOT_RUN = {
    "# yaml-language-server:": "a comment that an editor reads",
    'xent diagnose "s3://bucket': "needs a bucket and a cluster",
    "from dask_jobqueue": "needs a cluster of SLURM",
    "from dask_kubernetes": "needs a cluster of Kubernetes",
    "import coiled": "needs an account",
    "from functools import partial\n\nimport h5py": "needs h5py, which no extra brings",
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_code_is_run_or_says_why_not(document: Path) -> None:
    found = BLOCK.findall(document.read_text(encoding="utf-8"))
    languages = {language for language, text in found if not text.startswith(tuple(NOT_RUN))}

    assert languages == RUN.get(document.relative_to(ROOT).as_posix(), {}).keys()


def test_every_block_that_is_not_run_is_there() -> None:
    texts = [
        text for document in DOCUMENTS for _, text in BLOCK.findall(document.read_text(encoding="utf-8"))
    ]

    for begun in NOT_RUN:
        assert sum(text.startswith(begun) for text in texts) == 1, begun


@pytest.mark.parametrize("document", [name for name in RUN if "test_docs.py" in RUN[name].values()])
def test_a_file_of_a_document_is_named_in_it_and_so_is_used(document: str) -> None:
    path = ROOT / document
    for text in (*blocks(path, "python"), *blocks(path, "yaml")):
        if text.startswith(tuple(NOT_RUN)):
            continue
        name = re.match(r"# (?:test_)?(\w+)(\.(?:py|yaml))\n", text)
        assert name is not None, text
        shown = "".join((*blocks(path, "console"), *blocks(path, "sh")))
        assert name[1] in shown or name[1].endswith("_loss"), name[0]  # test_testing.py runs those suites


@pytest.mark.parametrize(
    ("document", "runner"), sorted({(name, test) for name, tests in RUN.items() for test in tests.values()})
)
def test_what_runs_a_document_names_it(document: str, runner: str) -> None:
    text = (ROOT / "tests" / runner).read_text(encoding="utf-8")

    assert Path(document).name in text


def test_the_home_page_installs_as_readme_does() -> None:
    assert blocks(ROOT / "docs" / "index.md", "sh") == blocks(ROOT / "README.md", "sh")[:1]


@pytest.mark.slow
def test_failures_that_are_saved_fail_again_as_the_page_says(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(ROOT / "docs" / "check.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = blocks(ROOT / "docs" / "check-reference.md", "sh")
    (block,) = (each for each in commands if "--save-failures" in each)
    first, second = (xent(*line.split()[1:]) for line in block.splitlines())

    assert (first.code, second.code) == (1, 1)
    assert "wrote 1 failure to found" in first.err
    assert second.out.startswith("mine.py:loss is inaccurate")
