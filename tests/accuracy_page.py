"""The tables of docs/accuracy.md, made of results/accuracy.json, which benchmarks/accuracy.py writes."""

import json
from collections.abc import Sequence

from conftest import ROOT
from record_pages import paragraph, table

from xentcli.formats import FORMATS
from xentcli.process import Fields

RESULTS, PAGE = ROOT / "results" / "accuracy.json", ROOT / "docs" / "accuracy.md"
BEGIN, END = "<!-- made of results/accuracy.json: make golden -->\n", "<!-- the end of what is made -->\n"
ABOUT_ROWS = """Each line has a row with the largest error of the tables by dtype. Numbers are hexadecimal, as
    `float.fromhex` reads them."""
NAMED = {"ordinary": "loss ≥ 1", "any": "any loss"}  # measures, as the columns name them


def read() -> Fields:
    """Return the file."""
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def written(page: str, file: Fields) -> str:
    """Return the page with its answer and tables anew."""
    (before, rest), after = page.split(BEGIN), page.split(END)[1]
    assert END in rest
    return f"{before}{BEGIN}{text(file)}{END}{after}"


def text(file: Fields) -> str:
    """Write the answer, a table for each measure, the table of all rows of two classes, and the rows."""
    domain, found, every = file["domain"], file["searched"], file["exhaustive"]
    classes, largest = domain["classes"], domain["largest"]
    rows = f"""Rows of {classes[0]} to {classes[-1]} classes, logits of at most {largest:g} in size, one
        label. Per function and dtype {file["rows"]:,} rows were tried, by a search with the seed
        {file["seed"]} that climbs from the worst rows: `benchmarks/accuracy.py` on {file["date"]},
        {file["machine"]}, NumPy
        {numpy(found)}, old versions of libraries with a NumPy of their time. Errors are in ulps of the true
        loss, rounded up to three digits; *nan* and *inf*: the loss is not finite, and the true one is. Blank:
        the library has no such dtype. A larger error may exist."""
    return f"""
{paragraph(answer(found, every))}

## The largest known errors

{paragraph(rows)}

Rows whose loss is at least {domain["least loss"]:g}, as in a model that has not learnt:

{by_dtype(found, "ordinary")}
All rows, small losses too:

{by_dtype(found, "any")}
## Two classes in float16 and bfloat16: every row

{paragraph(about_every_row(every))}

{exhaustive(every)}
## The rows

{paragraph(ABOUT_ROWS)}

{the_rows(found)}"""


def numpy(found: Sequence[Fields]) -> str:
    """Return the version of NumPy that the methods of xent ran with."""
    (version,) = {each["numpy"] for each in found if each["function"] == "log1p"}
    return version


def answer(found: Sequence[Fields], every: Sequence[Fields]) -> str:
    """Say what the tables come to."""
    return f"""`log1p` is within {most(found, "log1p", "ordinary")} ulps on every row that was tried with a
        loss of at least 1, and within {most(found, "log1p", "any")} on all: what error there is comes from
        rounding x - m. With two classes in float16 and bfloat16 it is within {most(every, "log1p", "any")}
        wherever that difference is exact; every such row was tried. `dense` is within
        {most(found, "dense", "ordinary")} where the loss is at least 1, and loses all digits of a small one,
        as PyTorch, TensorFlow, Optax, SciPy and ONNX Runtime do in float32. `xentcli.losses` is within
        {most(found, "xentcli.losses", "any")}."""


def most(found: Sequence[Fields], function: str, measure: str) -> str:
    """Return the largest error of a function in all dtypes."""
    errors = [each["ulps"] for each in found if (each["function"], each["measure"]) == (function, measure)]
    return max(errors, key=float)


def cell(found: Fields) -> str:
    """Write an error; of a loss that is not finite, the loss."""
    return found["ulps"] if found["ulps"] != "inf" else found["loss"].removeprefix("-")


def by_dtype(found: Sequence[Fields], measure: str) -> str:
    """Write a table of functions × dtypes."""
    cells = {
        (each["function"], each["version"], each["dtype"]): cell(each)
        for each in found
        if each["measure"] == measure
    }
    functions = dict.fromkeys((name, version) for name, version, _ in cells)
    rows = [
        (f"`{name}`", version, *(cells.get((name, version, dtype), "") for dtype in FORMATS))
        for name, version in functions
    ]
    return table(("function", "version", *FORMATS), rows)


def about_every_row(every: Sequence[Fields]) -> str:
    """Say what was enumerated."""
    counts = {each["dtype"]: each["rows"] for each in every if each["measure"] == "any"}
    numbers = " and ".join(f"{rows:,} in {dtype}" for dtype, rows in counts.items())
    return f"""Every row (0, g) with each label, g all finite numbers of the dtype: {numbers}. Of the
        functions whose names begin with `bce`, and of `torch.bce_with_logits`, these are all logits,
        with the labels 0 and 1. The errors are maxima: none of these rows has a larger one. The row
        shown is that of any loss: g or the logit, and the label. *Not finite* counts rows whose loss is
        nan or infinite, which has no error in ulps."""


def exhaustive(every: Sequence[Fields]) -> str:
    """Write the table of what was tried on every row."""
    at = {(e["function"], e["version"], e["dtype"], e["measure"]): e for e in every}
    rows = []
    for name, version, dtype in dict.fromkeys(key[:3] for key in at):
        ordinary, of_any = (at[name, version, dtype, measure] for measure in NAMED)
        row, label = of_any["row"][-1], str(of_any["label"])
        rows.append(
            (
                f"`{name}`",
                version,
                dtype,
                ordinary["ulps"],
                of_any["ulps"],
                row,
                label,
                f"{of_any['not finite']:,}",
            )
        )
    return table(("function", "version", "dtype", *NAMED.values(), "g", "label", "not finite"), rows)


def the_rows(found: Sequence[Fields]) -> str:
    """Write a line for each cell of the tables by dtype."""
    rows = [
        (
            f"`{each['function']}` {each['version']}",
            each["dtype"],
            NAMED[each["measure"]],
            cell(each),
            " ".join(each["row"]),
            str(each["label"]),
            each["loss"],
        )
        for each in found
    ]
    return table(("function", "dtype", "of", "ulps", "logits", "label", "its loss"), rows)
