"""The index of the atlas: every number, finding and case, each with what a search and a filter look at."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from atlas_pages.cases import folder
from atlas_pages.known import Known, cases, page_of_finding, pages_of_cases
from atlas_pages.text import short
from xentcli.digits import format_number
from xentcli.errors import printable
from xentcli.formats import FORMATS, nearest
from xentcli.identifiers import identifier
from xentcli.identify import constants
from xentcli.identify.constants import Constant
from xentcli.judge.findings import FINDINGS
from xentcli.judge.findings.finding import Finding
from xentcli.judge.verdicts import VERDICTS
from xentcli.show.sentences import judged

_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|\b-?inf\b|\bnan\b")
_MOST_NUMBERS: Final = 60  # of a case: a softmax of many rows is not what one searches for
# Numbers of classes whose ln a fresh model prints, besides those of known models.
_CLASSES: Final = (2, 10, 100, 10_000, 100_000)


@dataclass(frozen=True)
class Item:
    """A line of the index: what it says, and what a search and the filters compare with."""

    anchor: str
    href: str
    name: str
    text: str
    numbers: tuple[str, ...] = ()
    also: str = ""
    findings: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()


def page() -> str:
    """Return the index in Markdown: a form that the script brings to life, then every item."""
    folders: dict[str, list[Known]] = {}
    for known in cases():
        folders.setdefault(folder(known), []).append(known)
    sections = [("Cases: " + name, f"{name}.html", map(case_item, some)) for name, some in folders.items()]
    html = [
        _form(list(folders)),
        _section("Findings", "findings.html", map(_finding_item, FINDINGS), "finding"),
        *(
            _section(title, href, items, "case", title.removeprefix("Cases: "))
            for title, href, items in sections
        ),
        _section("Numbers that a loss gets stuck at", "", _constant_items(), "number"),
    ]
    toctree = "\n".join(["findings", *folders])
    return (
        "# Atlas: search by number\n\n"
        "Documented failures of cross-entropy. Type the number that you see, as it was printed, or words. "
        "On a terminal `xent identify 16.118` knows sums, shares and factors of these numbers too.\n\n"
        f"```{{raw}} html\n{''.join(html)}\n```\n\n"
        f"```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"
    )


def _form(folders: Iterable[str]) -> str:
    """Return the box and the filters, which a script shows; without one the page is a list."""
    libraries = sorted({library for known in cases() for library in known.entry.libraries}, key=str.casefold)
    choices = {
        "folder": folders,
        "finding": [finding.name for finding in FINDINGS],
        "library": libraries,
        "verdict": [verdict for verdict in VERDICTS if verdict != "accurate"],
    }
    selects = "".join(
        f'<label>{name}<select name="{name}"><option value="">any</option>'
        + "".join(f"<option>{escape(printable(value))}</option>" for value in values)
        + "</select></label>"
        for name, values in choices.items()
    )
    return (
        '<form id="atlas" role="search" aria-label="the atlas" hidden>\n'
        '<label for="atlas-q">A number or words</label>\n'
        '<input id="atlas-q" name="q" type="search" autocomplete="off" spellcheck="false"'
        ' placeholder="16.118">\n'
        f'<div class="filters">{selects}</div>\n'
        '<p id="atlas-count" role="status" aria-live="polite"></p>\n</form>\n'
        "<noscript><p>Search and filters need scripts. Without them this page is the whole list: "
        "the search of the browser finds numbers in it.</p></noscript>\n"
    )


def _section(title: str, href: str, items: Iterable[Item], kind: str, of_folder: str = "") -> str:
    heading = f'<a href="{href}">{escape(title)}</a>' if href else escape(title)
    lines = "".join(line(item, kind, of_folder) for item in items)
    return f'<section class="atlas">\n<h2>{heading}</h2>\n<ul>\n{lines}</ul>\n</section>\n'


def line(item: Item, kind: str, of_folder: str) -> str:
    """Return an item in HTML, every text of it escaped."""
    data = {
        "numbers": " ".join(item.numbers),
        "words": f"{item.name} {item.text} {item.also}".casefold(),
        "folder": of_folder,
        "finding": " ".join(item.findings),
        "library": " ".join(item.libraries),
        "verdict": " ".join(item.verdicts),
    }
    attributes = "".join(f' data-{k}="{escape(printable(value))}"' for k, value in data.items() if value)
    shown = escape(printable(item.name))
    name = f'<a href="{escape(item.href)}">{shown}</a>' if item.href else f"<b>{shown}</b>"
    return f'<li id="{kind}-{escape(item.anchor)}"{attributes}>{name} {escape(printable(item.text))}</li>\n'


def case_item(known: Known) -> Item:
    """Return the line of a case."""
    case, about = known.entry.case, known.entry.case.about
    key = identifier("case", case.name)
    verdicts = dict.fromkeys(judgement.verdict for _, judgement in judged(known.result))
    return Item(
        case.name,
        f"{key}.html",
        case.name,
        case.title,
        tuple(dict.fromkeys(_numbers(known)))[:_MOST_NUMBERS],
        " ".join((key, *(f"{each.title or ''} {short(each.url)}" for each in about.sources))),
        tuple(finding.name for finding in known.findings),
        tuple(sorted(known.entry.libraries)),
        tuple(verdicts),
    )


def _numbers(known: Known) -> Iterator[str]:
    """Yield the numbers of a case: the true losses, each method's, what libraries and the source printed."""
    exact, form = known.result.exact, FORMATS[known.entry.case.numerics.loss_dtype]
    for value in (*([] if exact.loss is None else [exact.loss]), *exact.losses):
        yield format_number(nearest(value, form), form.name)
    for outcome, _ in judged(known.result):
        for number in (*([] if outcome.loss is None else [outcome.loss]), *outcome.losses):
            yield format_number(number, outcome.dtype)
    for each in known.entry.case.about.prints:
        yield from _NUMBER.findall(each.text)
    for expectation in known.entry.case.expectations:
        yield from expectation.texts


def _finding_item(finding: Finding) -> Item:
    key = identifier("finding", finding.name)
    href = page_of_finding(finding.name).replace(".md", ".html")
    about = f"{key} {finding.short} {finding.remedy}"
    return Item(finding.name, href, finding.name, finding.cause, also=about, findings=(finding.name,))


def _constant_items() -> Iterator[Item]:
    """Yield the numbers that 'xent identify' knows by heart."""
    fresh = [next(constants.uniform(n)) for n in (*_CLASSES, *constants.MODELS) if n != _CLASSES[0]]
    known = (*constants.FLOORS, *constants.ONES, *constants.uniform(2), *constants.OTHERS, *fresh)
    pages = pages_of_cases()
    for number, constant in enumerate((*known, *constants.ZEROS), 1):
        href = pages[constant.bundled].replace(".md", ".html") if constant.bundled in pages else ""
        yield _constant_item(constant, str(number), href)


def _constant_item(constant: Constant, anchor: str, href: str) -> Item:
    """Return the line of a constant; its digits are those of float64, and shown are those of float32."""
    text = f"{constant.definition}: {constant.cause}. Seen in {constant.owner}. {constant.remedy}"
    shown = format_number(float(f"{constant.value:.8g}"), "float64")
    return Item(anchor, href, shown, text, (repr(constant.value),))
