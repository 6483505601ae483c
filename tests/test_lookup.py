"""Pages of findings, methods and cases: nothing missing, nothing cut."""

import json
import re
from dataclasses import replace
from functools import cache

import click
import pytest
from conftest import Xent, assert_golden, first

from xentcli import atlas
from xentcli.cli import lookup
from xentcli.cli.cases import cases as cases_command
from xentcli.cli.findings import findings
from xentcli.cli.methods import methods
from xentcli.frameworks import FRAMEWORK_METHODS
from xentcli.judge.findings import FINDINGS
from xentcli.methods.table import METHOD_NAMES, METHODS
from xentcli.model import Case
from xentcli.run import evaluate
from xentcli.show import Screen
from xentcli.show.page import Code, Command, Page, render
from xentcli.show.pages import case_page, words

KINDS = ("finding", "method", "case")


@cache
def cases() -> dict[str, Case]:
    return {entry.case.name: entry.case for entry in atlas.entries()}


@cache
def pages(kind: str) -> list[Page]:
    return lookup.pages(kind, lookup.names_of(kind))


# What there is a page of


@pytest.mark.slow
def test_every_finding_method_function_and_case_has_a_page() -> None:
    assert [page.name for page in pages("finding")] == [finding.name for finding in FINDINGS]
    functions = [method.name for method in FRAMEWORK_METHODS]
    assert [page.name for page in pages("method")] == [*METHOD_NAMES, *functions]
    assert [page.name for page in pages("case")] == list(cases())


def test_every_word_of_a_page_belongs_to_something() -> None:
    assert list(words()["findings"]) == [finding.name for finding in FINDINGS]
    assert {advice["remedy"] for advice in words()["findings"].values()} == words()["remedies"].keys()
    assert {advice["mistake"] for advice in words()["findings"].values()} == words()["mistakes"].keys()
    assert list(words()["methods"]) == list(METHOD_NAMES)
    functions = {name for about in words()["methods"].values() for name in about.get("frameworks", ())}
    assert functions <= {method.name for method in FRAMEWORK_METHODS}


def test_a_docstring_says_how_a_method_behaves_and_where_it_is_from() -> None:
    for page in pages("method")[: len(METHODS)]:
        facts = {key: value for block in page.blocks for key, value in block.items()}
        assert facts["source"], page.name
        assert len(str(facts["numerics"]).split()) > 10, page.name


@pytest.mark.parametrize("width", first(1, [40, 80, 120, 200]))
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_fits_and_cuts_nothing(kind: str, width: int) -> None:
    for page in pages(kind):
        text = render([page], "table", Screen(width, is_terminal=True, colour=True))
        bare = re.sub(r"\x1b\[\d+m", "", text)
        values = [value for block in page.blocks for value in block.values() if value]
        items = [item for value in values for item in ((value,) if isinstance(value, str) else value)]

        shown = bare.split()
        for item in items:
            assert set(item.split()) <= set(shown), page.name
        whole = {line for item in items if isinstance(item, Code | Command) for line in item.splitlines()}
        longest = max(len(word) for item in items for word in item.split())
        for line in bare.splitlines():
            if not any(line.endswith(each) for each in whole):
                assert len(line) <= max(width, longest + 16), line
        code = [line for item in items if isinstance(item, Code) for line in item.splitlines()]
        assert max(map(len, code), default=0) <= 76, page.name  # and 4 before it


def test_colours_say_what_can_be_typed_and_what_is_context() -> None:
    (page,) = (page for page in pages("finding") if page.name == "log-of-zero")

    text = render([page], "table", Screen(80, is_terminal=True, colour=True))

    assert text.startswith("\x1b[1mlog-of-zero:\x1b[0m The probability of a labelled class")
    assert "\x1b[36mxent explain log-of-zero-is-not-the-loss\x1b[0m\n" in text
    assert "\x1b[2m  no fault" in text
    assert "\x1b" not in render([page], "plain", Screen(80, is_terminal=True, colour=True))


def test_a_finding_shows_wrong_code_of_numpy_and_right_code_of_all(xent: Xent) -> None:
    wrong, right = (words()[kind][name] for kind, name in (("mistakes", "clip"), ("remedies", "from-logits")))
    code = {name: wrong[name].splitlines()[1] for name in ("numpy", "torch", "jax", "keras")}

    brief = xent("findings", "clip-active").out

    assert code["numpy"] in brief
    assert not any(code[name] in brief for name in ("torch", "jax", "keras"))
    assert all(right[name].strip().splitlines()[0] in brief for name in code)
    assert brief.endswith("  with -v     torch, wrong; JAX, wrong; Keras, wrong\n")


@pytest.mark.slow
@pytest.mark.parametrize("options", [["-v"], ["--format", "markdown"], ["--format", "json"]])
def test_all_of_a_finding_has_the_wrong_code_of_every_library_before_the_right_code(
    xent: Xent, options: list[str]
) -> None:
    page = xent("findings", "clip-active", *options).out

    keys = re.findall(r"(NumPy|torch|JAX|Keras), (wrong|right)", page)
    assert keys == [(name, how) for name in ("NumPy", "torch", "JAX", "Keras") for how in ("wrong", "right")]
    assert all(
        words()["mistakes"]["clip"][name].splitlines()[1] in page for name in ("numpy", "jax", "keras")
    )


@pytest.mark.slow
def test_a_library_that_is_right_by_itself_has_no_wrong_code_and_a_reason(xent: Xent) -> None:
    page = xent("findings", "wrong-gradient", "-v").out

    assert "JAX, wrong" not in page
    assert "JAX, right" in page
    assert "JAX and Keras differentiate" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [("finding", "log-of-zero"), ("method", "naive"), ("case", "abnormal")]
)
def test_a_page_is_written_as_kept(xent: Xent, kind: str, name: str) -> None:
    assert_golden(f"page-{kind}.plain", xent(f"{kind}s", name).out)


# Which names


@pytest.mark.slow
def test_several_names_are_several_pages_and_json_has_an_object_for_each(xent: Xent) -> None:
    two = [page for page in pages("finding") if page.name in {"tail-collapse", "empty-tile"}]
    first, second = json.loads(render(two, "json", Screen()))
    assert [first["finding"], second["finding"]] == ["tail-collapse", "empty-tile"]
    assert first["shows as"] == [
        "off, gradient wrong: naive, clipped, dense, sparse, online, guarded, textbook",
        "off: by_hand",
        "collapsed, gradient wrong: unshifted",
    ]
    assert "np.logaddexp" in first["NumPy, right"]
    assert "no fault" in second
    assert [p["method"] for p in json.loads(xent("methods", "torch", "optax", "--format", "json").out)] == [
        *("torch.cross_entropy", "torch.cross_entropy_soft", "torch.bce_with_logits"),
        *("optax.dense", "optax.integer", "optax.safe"),
    ]
    text = xent("findings", "tail-collapse", "empty-tile").out
    assert [line.split(":")[0] for line in text.splitlines() if line[:1].strip()][0::2][:1] == [
        "tail-collapse"
    ]
    assert "\n\nempty-tile: All logits" in text


def test_markdown_has_a_heading_and_code(xent: Xent) -> None:
    text = xent("methods", "bce_naive", "--format", "markdown").out

    assert text.startswith("### bce\\_naive\n\nBinary cross-entropy")
    assert "```python\nlosses = -(y * np.log(p) + (1 - y) * np.log(1 - p))\n```\n" in text
    assert (
        "- next: `xent explain clamp-leaps --method bce_naive`; `xent findings sigmoid-rounding`; `xent"
        in text
    )


def test_a_library_stands_for_its_functions(xent: Xent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9.9+cpu")

    done = json.loads(xent("methods", "torch", "--format", "json").out)

    assert [page["method"] for page in done] == [
        "torch.cross_entropy",
        "torch.cross_entropy_soft",
        "torch.bce_with_logits",
    ]
    assert {page["version"] for page in done} == {"9.9"}
    assert done[0]["formula"] == "that of sparse"


def test_a_function_says_which_extra_brings_it(xent: Xent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xentcli.frameworks.Library.version", None)

    assert "not installed: pip install 'xent[jax]'\n" in xent("methods", "optax.safe").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["findings", "log-of-zeros"], "unknown finding 'log-of-zeros'; did you mean 'log-of-zero'?\n"),
        (["findings", "zebra"], "unknown finding 'zebra'; 'xent findings' lists them\n"),
        (["findings", "naive"], "'naive' is a method: xent methods naive\n"),
        (["methods", "abnormal"], "'abnormal' is a case: xent cases abnormal\n"),
        (["methods", "torch.cross"], "unknown method 'torch.cross'; did you mean 'torch.cross_entropy'?\n"),
        (["cases", "log-of-zero"], "'log-of-zero' is a finding: xent findings log-of-zero\n"),
        (["cases", "abnormul"], "unknown case 'abnormul'; did you mean 'abnormal'?\n"),
        (["cases", "\x1b[31m"], "unknown case '\\x1b[31m'; 'xent cases' lists them\n"),
        (["cases", "show"], "xent cases show NAME prints the file of one case\n"),
        (["cases", "show", "abnormal", "keras-cap"], "xent cases show NAME prints the file of one case\n"),
        (
            ["cases", "abnormal", "--library", "torch"],
            "--search, --finding and --library list cases; give them or a name\n",
        ),
        (["findings", "naive", "zebra"], "'naive' is a method: xent methods naive\nunknown finding 'zebra'"),
        (["methods", "torch", "--format", "csv"], "a page has no rows for csv; write it as plain, "),
    ],
)
def test_a_name_that_is_none_exits_2_and_says_what_is_near(
    xent: Xent, arguments: list[str], message: str
) -> None:
    done = xent(*arguments)

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(message)


def test_a_name_of_two_kinds_is_of_the_kind_that_is_asked_for(xent: Xent) -> None:
    assert xent("cases", "nan-logit").out.startswith("nan-logit: A nan logit gives nan by every method")
    (finding,) = (page for page in pages("finding") if page.name == "nan-logit")
    assert finding.sentence == "A logit is nan before the loss is computed."


def test_the_text_of_a_case_cannot_disturb_a_terminal() -> None:
    case = cases()["abnormal"]
    named = replace(case, about=replace(case.about, title="a\x1b[31m\nb"))

    text = render([case_page(evaluate(named), "")], "plain", Screen())

    assert text.split("\n\n")[0] == "abnormal: a\\x1b[31m\\nb"


@pytest.mark.parametrize(
    ("command", "begun", "name"),
    [
        (findings, "log", "log-of-zero"),
        (methods, "torch.cross_entropy_", "torch.cross_entropy_soft"),
        (methods, "optax", "optax.dense"),
        (cases_command, "normal-3", "normal-3x3"),
    ],
)
def test_names_are_completed(command: click.Command, begun: str, name: str) -> None:
    context = click.Context(command)

    assert command.params[0].shell_complete(context, begun)[0].value == name
