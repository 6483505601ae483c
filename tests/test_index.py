"""The atlas as a collection: search, folders, skipped cases, the index in the documentation."""

import sys
from pathlib import Path

import generated
import pytest
from conftest import Xent

from xentcli import atlas

ENTRIES = atlas.entries()
ATLAS = [entry for entry in ENTRIES if entry.folder]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--search", "label smoothing NaN"], {"smoothing-sum", "smoothing-sum-in-float32"}),
        (["--finding", "empty-tile"], {"empty-tile", "masked-shard"}),
        (["--library", "FLASH-attn"], {"empty-tile", "masked-shard"}),
        (["--library", "keras", "--finding", "tail-collapse"], {"keras-cap"}),
    ],
)
def test_cases_are_found(xent: Xent, options: list[str], names: set[str]) -> None:
    run = xent("cases", *options, "--format", "csv")

    assert run.code == 0
    assert {line.split(",")[1] for line in run.out.splitlines()[1:]} == names


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--search", "zebra"], 1, "no case has all the words of 'zebra'; none has one of them\n"),
        (["--finding", "tail-colapse"], 2, "unknown finding 'tail-colapse'; did you mean 'tail-collapse'?\n"),
        (["--library", "pytorch"], 2, "no case names a library 'pytorch'; did you mean 'torch'?\n"),
    ],
)
def test_a_search_without_a_match_says_so(xent: Xent, options: list[str], code: int, message: str) -> None:
    run = xent("cases", *options)

    assert (run.code, run.out.strip(), run.err) == (code, "", message)


def test_no_case_may_be_left_of_a_library_that_others_name(xent: Xent) -> None:
    run = xent("cases", "--finding", "empty-tile", "--library", "torch")

    assert (run.code, run.out.strip(), run.err) == (1, "", "")


def test_a_word_too_many_leaves_the_cases_that_have_most(xent: Xent) -> None:
    run = xent("cases", "--search", "loss stuck zebra", "--format", "csv")

    assert (run.code, run.out.splitlines()[1].split(",")[1]) == (0, "caffe-floor")
    assert run.err == "no case has all the words of 'loss stuck zebra'; these have most of them\n"


def test_a_folder_of_the_atlas_runs_by_its_name(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run = xent("run", "reductions", "binary/clamp-leaps", "clamp-leaps")

    assert run.code == 2
    assert "binary/clamp-leaps: no such file, folder or bundled case" in run.err
    assert xent("run", "reductions").code == 0


def test_the_atlas_runs_as_a_folder_with_one_line_a_case(xent: Xent) -> None:
    run = xent("run", "cases/")

    assert run.code == 0
    listed = [line.split()[0] for line in run.out.splitlines()[2:]]
    assert listed == ["case", *(e.case.name for e in ENTRIES)]


def test_a_case_of_a_folder_that_needs_a_library_is_left_out(
    xent: Xent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)

    alone, together = xent("run", "bfloat16-steps"), xent("run", "low-precision")

    assert alone.code == 2
    assert "needs ml_dtypes" in alone.err
    assert together.code == 0
    assert "bfloat16" not in together.out
    assert "2 cases skipped: bfloat16 needs ml_dtypes" in together.err
    assert "3 cases skipped" in xent("cases").err


# The index


def test_the_index_in_the_documentation_is_current() -> None:
    generated.assert_section_is_current("the index", generated.index(ATLAS))
