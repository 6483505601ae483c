"""The pages of results on record: docs/compatibility.md of the newest versions, docs/timeline.md of all."""

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

from conftest import ROOT
from records import RIGHT, Record, Threads, called, on_record

from xentcli.frameworks import FUNCTIONS
from xentcli.judge import judge
from xentcli.show import matrix

COMPATIBILITY, TIMELINE = ROOT / "docs" / "compatibility.md", ROOT / "docs" / "timeline.md"
LEGEND = """A cell says how the loss of a function stands to the true one: · right, and its gradient too;
*nan* or *inf*; *0*, *cap* and *off*, wrong in silence; ∇ the loss right and its gradient not; × raised an
error; blank where the function does not support the case. A wrong cell leads to the thread about it, where
one is known. What the truth is, and why, is in [the atlas](../cases/README.md#the-atlas)."""
_WIDTH = 115  # columns of a paragraph

Key = tuple[str, str]  # a case and a function
Rows = Iterable[Sequence[str]]


entries = cache(called)


@cache
def undefined() -> frozenset[str]:
    """Name the cases without a true loss."""
    exact = {entry.case.name: judge(entry.case, (), ()).exact.loss for entry in entries()}
    return frozenset(name for name, loss in exact.items() if loss is not None and loss.is_nan())


def table(heads: Sequence[str], rows: Rows) -> str:
    """Write a table in Markdown."""
    lines = (heads, ["---"] * len(heads), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def paragraph(words: str) -> str:
    """Break a paragraph into lines."""
    return textwrap.fill(" ".join(words.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def case_link(folder: str, name: str) -> str:
    return f"[{name}](../cases/{folder}/{name}.yaml)"


def linked(mark: str, threads: Threads, record: Record, key: Key) -> str:
    """Return a mark; a wrong one leads to the thread about it, where one is known."""
    url = None if mark in RIGHT else threads.of(key[0], record.library, key[1])
    return mark if url is None else f"[{mark}]({url})"


# docs/compatibility.md


def compatibility() -> str:
    """Write the page of the newest version of each library on record."""
    newest = [records[-1] for records in on_record().values()]
    day = max(record.fields["date"] for record in newest)
    versions = ", ".join(f"{record.library} {record.version}" for record in newest)
    sections = [section for is_binary in (False, True) for section in sections_of(newest, is_binary)]
    about = f"""The newest versions [on record](../results), written by `make compatibility` on {day}, on an
        {newest[0].fields["machine"]}. {LEGEND} [The timeline](timeline.md) has the older versions."""
    return f"""\
# What frameworks make of the atlas

{paragraph(about)}

Versions: {versions}.
{"".join(sections)}"""


def sections_of(newest: Sequence[Record], is_binary: bool) -> list[str]:
    """Write a table per folder of the binary cases or of the others, and how many cells are right."""
    threads = Threads.read()
    columns = [
        (record, name)
        for record in newest
        for name in record.functions
        if FUNCTIONS[name].convention.binary is is_binary
    ]
    heads = [name for _, name in columns]
    results = [judge(e.case, (), ()) for e in entries() if e.case.batch.binary is is_binary]
    parts = []
    for sheet in matrix.sheets(matrix.by_folder(results), results, ())[:-1]:
        rows = []
        for case, exact, *rest in sheet.rows:
            marks = [(record, (case, name)) for record, name in columns]
            cells = [linked(record.marks.get(key, ""), threads, record, key) for record, key in marks]
            blank = [*rest, *[""] * len(columns)][: len(columns)]  # rest: there is no true loss
            rows.append((case_link(sheet.title, case), exact, *(blank if rest else cells)))
        parts.append(f"\n## {sheet.title}\n\n{table(('case', 'exact', *heads), rows)}")
    title = "binary" if is_binary else "softmax"
    counts = [right_of(record, name) for record, name in columns]
    return [*parts, f"\n## right, {title}\n\n{table(heads, [counts])}"]


def right_of(record: Record, name: str) -> str:
    """Say how many cells of a function are right, of those where there is a true loss."""
    judged = [mark for (_, function), mark in judged_marks(record).items() if function == name]
    return f"{sum(mark in RIGHT for mark in judged)} of {len(judged)}"


# docs/timeline.md


def timeline() -> str:
    """Write the page of all versions on record."""
    several = {name: records for name, records in on_record().items() if len(records) > 1}
    alone = [records[0] for records in on_record().values() if len(records) == 1]
    said = [sentence for records in several.values() for sentence in changes(records)]
    same, cells = map(sum, zip(*map(count_same, several.values()), strict=True))
    still = [name for name, records in several.items() if not changes(records)]
    only = listed([f"{record.library} {record.version}" for record in alone])
    answer = f"""{" ".join(said)} Nothing changed in {listed(still)}. {same} of {cells} cells are the same in
        every version [on record](../results) that has the function."""
    about = f"""{LEGEND} A cell is blank too where the version lacks the function. Versions beside each other
        may have run with other versions of NumPy or JAX; each record names them. Of {only} one version is on
        record."""
    return f"""\
# What changed from version to version

{paragraph(answer)}

{paragraph(about)}
{"".join(map(section, several.values()))}"""


def judged_marks(record: Record) -> dict[Key, str]:
    """Return the marks of a record where there is a true loss."""
    return {key: mark for key, mark in record.marks.items() if key[0] not in undefined()}


def changes(records: Sequence[Record]) -> list[str]:
    """Say for each version what it mended and what it broke, function by function."""
    sentences = []
    for old, new in pairwise(records):
        before, after = judged_marks(old), judged_marks(new)
        for name in new.functions:
            keys = [key for key in after if key[1] == name and before.get(key, after[key]) != after[key]]
            broke = sum(before[key] in RIGHT for key in keys)
            mended = sum(after[key] in RIGHT for key in keys)
            others = len(keys) - broke - mended
            counts = {"became wrong": broke, "became right": mended, "changed and stayed wrong": others}
            (first, *rest) = [(number, words) for words, number in counts.items() if number] or [(0, "")]
            if first[0]:
                many = "cells" if first[0] > 1 else "cell"
                words = [f"{first[0]} {many} of `{name}` {first[1]}", *(f"{n} {words}" for n, words in rest)]
                sentences.append(f"With {new.library} {new.version}, {listed(words)}.")
    return sentences


def count_same(records: Sequence[Record]) -> tuple[int, int]:
    """Count the cells that have one mark in all versions, and all cells."""
    marks = list(map(judged_marks, records))
    keys = dict.fromkeys(key for each in marks for key in each)
    return sum(len({each[key] for each in marks if key in each}) == 1 for key in keys), len(keys)


def section(records: Sequence[Record]) -> str:
    """Write the table of a library: what differs between versions first, then what is wrong in all."""
    threads, marks = Threads.read(), list(map(judged_marks, records))
    folders = {entry.case.name: entry.folder for entry in entries()}
    keys = sorted(dict.fromkeys(key for each in marks for key in each))
    differs = [key for key in keys if len({each[key] for each in marks if key in each}) > 1]
    wrong = [key for key in keys if key not in differs and {each.get(key, "") for each in marks} - RIGHT]
    rows = [
        (
            case_link(folders[key[0]], key[0]),
            f"`{key[1]}`",
            *(each.get(key, "") for each in marks[:-1]),
            linked(marks[-1].get(key, ""), threads, records[-1], key),
        )
        for key in (*differs, *wrong)
    ]
    heads = ("case", "function", *(record.version for record in records))
    about = f"{len(differs)} of {len(keys)} cells differ; {len(wrong)} are wrong in every version."
    return f"\n## {records[0].library}\n\n{about}\n\n{table(heads, rows)}"
