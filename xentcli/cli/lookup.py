"""Names that are looked up: of which kind each is, its page, its completion."""

from typing import TYPE_CHECKING, Any

import click

from xentcli.cli.screen import screen
from xentcli.errors import XentError, did_you_mean, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xentcli.show.page import Page

_KINDS = ("finding", "method", "case")


def names_argument(kind: str) -> "Callable[[Any], Any]":
    """Make the argument of names of a kind, which are completed."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names_of(kind) if name.startswith(incomplete)]

    return click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete)


def show_pages(kind: str, names: tuple[str, ...], form: str, *, verbose: bool = True) -> None:
    """Print the page of each name, without its details unless verbose; raises XentError as ``pages`` does."""
    from xentcli.cli.output import to_stdout
    from xentcli.show.page import render

    to_stdout(render(pages(kind, names), form, screen(None), verbose=verbose))


def pages(kind: str, names: "Sequence[str]") -> "list[Page]":
    """Return the page of each name; raises XentError with a line for each that is not of the kind."""
    from xentcli.identifiers import resolved

    known = [resolved(kind, name) for name in names]
    if problems := [_problem(kind, name) for name in known if name not in names_of(kind)]:
        raise XentError("\n".join(problems))
    return list({"finding": _findings, "method": _methods, "case": _cases}[kind](known))


def names_of(kind: str) -> tuple[str, ...]:
    """Return every name of a kind; the name of a library stands for its functions."""
    from xentcli.frameworks import FRAMEWORK_METHODS, LIBRARIES
    from xentcli.judge.findings import FINDINGS
    from xentcli.load.sources import bundled
    from xentcli.methods.table import METHOD_NAMES

    if kind == "case":
        return tuple(file.stem for file in bundled())
    if kind == "finding":
        return tuple(finding.name for finding in FINDINGS)
    return (*METHOD_NAMES, *(method.name for method in FRAMEWORK_METHODS), *LIBRARIES)


def _problem(kind: str, name: str) -> str:
    from xentcli.identifiers import resolved

    for other in _KINDS:
        if (known := resolved(other, name)) in names_of(other):
            return f"'{name}' is a {other}: xent {other}s {known}"
    near = did_you_mean(name, names_of(kind), f"'xent {kind}s' lists them")
    return f"unknown {kind} '{printable(name)}'{near}"


def _findings(names: "Sequence[str]") -> "Iterator[Page]":
    from xentcli import atlas
    from xentcli.judge.findings import FINDINGS
    from xentcli.methods.table import METHODS
    from xentcli.run import evaluate, methods_of
    from xentcli.show.pages import finding_page

    entries = {entry.case.name: entry for entry in atlas.entries()}
    found = {name: entry.findings() for name, entry in entries.items()}
    for finding in (finding for finding in FINDINGS if finding.name in names):
        case = entries[finding.case].case
        cases = [name for name, findings in found.items() if finding.name in findings]
        yield finding_page(finding, evaluate(case, methods_of(case, METHODS)), cases)


def _methods(names: "Sequence[str]") -> "Iterator[Page]":
    from xentcli import atlas
    from xentcli.frameworks import FRAMEWORK_METHODS
    from xentcli.judge.findings import FINDINGS
    from xentcli.methods.table import METHODS
    from xentcli.run import evaluate, methods_of
    from xentcli.show.pages import function_page, method_page

    chosen = [method for method in METHODS if method.name in names]
    cases = {entry.case.name: entry.case for entry in atlas.entries()} if chosen else {}
    own = ((finding, cases[finding.case]) for finding in FINDINGS if chosen)
    results = [(finding, evaluate(case, methods_of(case, chosen))) for finding, case in own]
    yield from (method_page(method, results) for method in chosen)
    for function in FRAMEWORK_METHODS:
        if function.name in names or function.library.name in names:
            yield function_page(function)


def _cases(names: "Sequence[str]") -> "Iterator[Page]":
    from xentcli import load
    from xentcli.load import sources
    from xentcli.run import evaluate
    from xentcli.show.pages import case_page

    files = [sources.find_bundled(name) for name in dict.fromkeys(names)]
    for case, file in zip(load.load_all(*sources.read_all(list(map(str, files)))), files, strict=True):
        yield case_page(evaluate(case), sources.folder_of(file))
