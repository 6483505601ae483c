"""Cases for ``fuzz``: most of them load, by the rules of the table of keys; some are made worse.

Shapes are small, with a long row now and then; numbers are ordinary, or the edges of the dtype.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from fuzz import Input
from hypothesis import strategies as st

from xentcli import formats, words
from xentcli.load.keys import KEYS, Key
from xentcli.methods.method import Method, Quantity
from xentcli.methods.table import METHODS, QUANTITIES

ROOT = Path(__file__).parent.parent
CORPUS = [
    path.read_bytes()
    for folder in ("cases", "tests/bad_cases")
    for path in sorted((ROOT / folder).rglob("*.yaml"))
]
NAMES = [*(key.name for key in KEYS), *(row.name for row in (*METHODS, *QUANTITIES))]
ODD_NUMBERS = [
    "0",
    "1",
    "-1",
    "2.5",
    "1e31",
    "1e400",
    "1e-400",
    "nan",
    "-inf",
    ".inf",
    "0x1",
    "1_0",
    "~",
    "true",
    "99999999999999999999999999",
]
SYNTAX = [
    *"[]{},:-#|>&*!%@`'\"\t\r\n\0 ",
    "\n  ",
    "\n- ",
    "\n---\n",
    "...",
    "&a ",
    "*a",
    "!!float ",
    "? ",
    "<<: ",
]
ODD_TEXT = ["\ufeff", "\x1b", "é", "测", "\u2028", " x 3", " x 99"]
TOKENS = [
    *(f"{name}: " for name in NAMES),
    *(*words.DTYPES, *words.ARITHMETICS, *words.REDUCTIONS, *words.BAD_LABELS, words.SEQUENTIAL),
    *(*ODD_NUMBERS, *SYNTAX, *ODD_TEXT),
]
Text = st.SearchStrategy[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a case is about; everything in it has to suit this."""

    rows: int
    classes: int
    dtype: str
    labels: str  # indices, invalid, ignored, soft or binary
    arithmetic: str
    reduction: str
    probabilities: bool
    long: bool

    @property
    def binary(self) -> bool:
        """Whether there is one logit per example."""
        return self.labels == "binary"


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Choose what a case is about."""
    dtype = draw(st.sampled_from(words.DTYPES))
    labels = draw(st.sampled_from(["indices", "indices", "invalid", "ignored", "soft", "binary"]))
    eigen = dtype == "float32" and labels != "binary"
    long = draw(st.integers(0, 29)) == 0
    return Plan(
        rows=draw(st.integers(1, 4)),
        classes=draw(st.sampled_from([100, 1000, 1000, 1000, 50_000]) if long else st.integers(1, 9)),
        dtype=dtype,
        labels=labels,
        arithmetic=draw(st.sampled_from(words.ARITHMETICS)) if eigen else "numpy",
        reduction=draw(st.sampled_from(words.REDUCTIONS)),
        probabilities=draw(st.integers(0, 4)) == 0,
        long=long,
    )


@cache
def numbers(dtype: str, *, least: float = -float("inf"), special: bool = True) -> Text:
    """Return numbers of a dtype from ``least`` on: ordinary ones, any ones, its edges."""
    form = formats.FORMATS[dtype]
    edges = [
        form.largest,
        form.smallest,
        form.smallest_normal,
        1 + form.eps,
        form.largest / 2,
        1.0,
        0.5,
        30.0,
    ]
    edges = [edge for each in edges for edge in (each, -each) if edge >= least]
    finite = [
        st.floats(max(-30.0, least), 30.0, width=16),
        st.floats(max(-form.largest, least), form.largest),
        st.sampled_from([*edges, 0.0]),
    ]
    others = ["1e-400", *(["nan", ".inf", "-inf", "-0.0"] if special else [])]
    return st.one_of(*finite).map(repr) | st.sampled_from(others)


def several(number: Text, length: int, *, long: bool = False) -> Text:
    """Write a list of numbers; a long one as repeats."""
    if not long:
        return st.lists(number, min_size=length, max_size=length).map(listed)
    return st.tuples(number, number, st.integers(1, length - 1)).map(
        lambda drawn: f"[{drawn[0]} x {drawn[2]}, {drawn[1]} x {length - drawn[2]}]"
    )


def table(number: Text, plan: Plan) -> Text:
    """Write rows of numbers, or one per example of a binary case."""
    if plan.binary:
        return several(number, plan.classes if plan.long else plan.rows, long=plan.long)
    row = several(number, plan.classes, long=plan.long)
    return st.lists(row, min_size=plan.rows, max_size=plan.rows).map(listed)


def labels(plan: Plan) -> Text:
    """Write labels that the loader takes, with ``bad_labels`` or ``ignore_index`` where they need it."""
    if plan.binary:
        return table(st.floats(0, 1).map(repr) | st.sampled_from(["0", "1", "0.5", "5e-324"]), plan)
    if plan.labels == "soft":
        ordinary = st.floats(0, 1).map(repr) | st.sampled_from(["0", "1"])
        return table(ordinary | numbers(plan.dtype, least=0.0, special=False), plan)
    index = st.integers(0, plan.classes - 1)
    if plan.labels == "ignored":
        index |= st.just(-100)
    if plan.labels == "invalid":
        index |= st.sampled_from([-1, -plan.classes, plan.classes, 2**63, -(2**63), 2**64 - 1, 10**30])
    return several(index.map(str), plan.rows)


def expectations(plan: Plan, rows: tuple[Method | Quantity, ...]) -> Text:
    """Write what was printed for some methods and quantities, in the shapes that they have."""
    each = {row.name: expectation(plan, row) for row in rows if suits(plan, row)}
    some = st.lists(st.sampled_from(sorted(each)), unique=True, max_size=3)
    chosen = some.flatmap(lambda names: st.fixed_dictionaries({name: each[name] for name in names}))
    return chosen.map(lambda found: f"{{{', '.join(f'{name}: {text}' for name, text in found.items())}}}")


def suits(plan: Plan, row: Method | Quantity) -> bool:
    """Whether the loader lets a case expect a method or quantity."""
    if isinstance(row, Method) and (row.parts or row.needs):
        return False
    if isinstance(row, Quantity):
        return not plan.binary and not row.needs_parts and (plan.probabilities or not row.needs_probabilities)
    return row.binary == plan.binary and (row.binary or row.soft_labels or plan.labels != "soft")


def expectation(plan: Plan, row: Method | Quantity) -> Text:
    """Write numbers in the shape of a method or quantity."""
    number = numbers("float64")
    losses = several(number, plan.rows)
    if isinstance(row, Quantity):
        return {0: number, 1: losses, 2: table(number, plan)}[len(row.shape)]
    return losses if plan.reduction == "none" else number


def bounds(number: Text) -> Text:
    """Write two numbers above 0, the lower first."""
    pairs = st.tuples(number, number).filter(lambda pair: all(float(each) > 0 for each in pair))
    return pairs.map(lambda pair: listed(sorted(pair, key=float)))


def texts() -> Text:
    """Write a line of text in quotes, now and then one that a terminal or a sheet would act on."""
    odd = st.sampled_from(["=1+1", "|a|<b>", "::error::x", "测" * 9, "x" * 1000, "]]>&", "a\u00a0b"])
    return (st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1) | odd).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    )


def records(*names: str) -> Text:
    """Write a list of mappings with these keys."""
    entry = st.tuples(*(texts() for _ in names)).map(
        lambda values: f"{{{', '.join(f'{name}: {text}' for name, text in zip(names, values, strict=True))}}}"
    )
    return st.lists(entry, max_size=2).map(listed)


def one_of(*some: str) -> Callable[[Plan], Text]:
    return lambda _: st.sampled_from(some)


def positive() -> Text:
    """Write a knob: an ordinary number, or an extreme one."""
    return st.floats(0.01, 100).map(repr) | st.sampled_from(["1e-300", "1e300", "5e-324", "1"])


def parts(plan: Plan) -> Text:
    """Divide a batch along what its reduction allows, mostly into parts that fit."""
    totals = {"examples": plan.rows, "classes": plan.classes, "copies": 5}
    along = st.sampled_from(words.ALONG) if plan.reduction == "mean" else st.just(words.CLASSES)
    return along.flatmap(
        lambda word: st.integers(1, totals[word] + 1).map(lambda n: f"{{along: {word}, sizes: {n}}}")
    )


ROWS = tuple(row for row in METHODS if not (row.binary or row.parts or row.needs))
BINARY_HALF = tuple(row for row in METHODS if row.binary)[:2]
PRINTED = (*ROWS[: len(ROWS) // 2], *BINARY_HALF)
DERIVED = tuple(row for row in (*METHODS, *QUANTITIES) if row not in PRINTED)
# The values of each key that suit a plan.
VALUES: dict[str, Callable[[Plan], Text]] = {
    "title": lambda _: texts(),
    "source": lambda _: texts() | records("url", "title"),
    "affects": lambda _: records("library", "versions", "state"),
    "prints": lambda _: records("library", "version", "call", "text"),
    "dtype": lambda plan: st.just(plan.dtype),
    "arithmetic": lambda plan: st.just(plan.arithmetic),
    "accumulate": one_of(
        "float32", "float64", "sequential", "[float32, sequential]", "[sequential, float64]"
    ),
    "flush_subnormals": one_of("true", "false"),
    "logits": lambda plan: table(numbers(plan.dtype), plan),
    "labels": labels,
    "bad_labels": one_of("nan", "wrap"),
    "probabilities": lambda plan: table(numbers(plan.dtype), plan),
    "class_weights": lambda plan: several(
        numbers(plan.dtype, least=0.0, special=False), plan.classes, long=plan.long
    ),
    "label_smoothing": lambda _: st.floats(0, 1).map(repr) | st.sampled_from(["0", "1", "5e-324"]),
    "smoothing_over": one_of("classes", "others"),
    "ignore_index": lambda plan: st.just("-100") if plan.labels == "ignored" else st.integers(-3, 3).map(str),
    "clip": lambda _: bounds(numbers("float64", least=0.0, special=False)),
    "tile": lambda _: st.integers(1, 9).map(str) | st.sampled_from(["1000000", str(2**63)]),
    "scale": lambda _: positive(),
    "softcap": lambda _: positive(),
    "temperature": lambda _: positive(),
    "order": one_of("softcap", "[softcap, scale]", "[temperature, softcap]"),
    "z_loss": lambda _: positive() | st.just("0"),
    "padding": lambda plan: st.integers(1, max(1, plan.classes - 1)).map(str),
    "parts": parts,
    "reduction": lambda plan: st.just(plan.reduction),
    "expect": lambda plan: expectations(plan, PRINTED),
    "derived": lambda plan: expectations(plan, DERIVED),
}
NEEDED = {"invalid": "bad_labels", "ignored": "ignore_index"}  # by labels of that kind


def goes(key: Key, plan: Plan) -> bool:
    """Whether a key goes with a plan, but is not needed."""
    if plan.binary and key.rows_only:
        return False
    if key.name in {"scale", "softcap", "temperature", "z_loss", "padding"}:
        return not plan.probabilities and plan.arithmetic == "numpy" and key.name != "padding"
    if key.name == "accumulate":
        return plan.arithmetic == "numpy"
    if key.name in {"expect", "derived"}:  # a list of expected numbers has no repeats
        return not (plan.binary and plan.long)
    if key.name in {"bad_labels", "ignore_index"}:
        return plan.labels not in {"binary", "soft", *NEEDED}
    return not key.required and key.name not in {"dtype", "arithmetic", "reduction", "probabilities"}


def lines(draw: st.DrawFn, plan: Plan) -> list[str]:
    """Write a case that loads, a line per key, in any order."""
    optional = [key.name for key in KEYS if goes(key, plan)]
    names = ["logits", "labels", "dtype", "arithmetic", "reduction"]
    names += draw(st.lists(st.sampled_from(optional), max_size=6, unique=True))
    names += [NEEDED[plan.labels]] if plan.labels in NEEDED else []
    names += ["probabilities"] if plan.probabilities else []
    return [f"{name}: {draw(VALUES[name](plan))}" for name in draw(st.permutations(names))]


@st.composite
def commands(draw: st.DrawFn, plan: Plan) -> tuple[str, ...]:
    """Choose a command over the case on standard input, and its options."""
    names = [method.name for method in METHODS if method.binary == plan.binary]
    if draw(st.integers(0, 4)) == 0:
        form = draw(st.sampled_from(["table", "plain", "json"]))
        method = [f"--method={draw(st.sampled_from(names))}"] if draw(st.booleans()) else []
        return "explain", "-", "--format", form, *method
    command, form = draw(st.sampled_from(["run", "run", "compare"])), draw(st.sampled_from(words.FORMATS))
    options = [
        [f"--methods={draw(st.sampled_from(['all', 'default', *names]))}"],
        [f"--reduction={draw(st.sampled_from(words.REDUCTIONS))}"],
        ["--dtype=float64"] if plan.arithmetic == "numpy" else [],
        ["-v"],
    ]
    chosen = [draw(st.sampled_from([[], [], [], [], option])) for option in options]
    return command, "-", "--format", form, *chain(*chosen)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    """Make a case and a command over it: three of four load, but for what is hostile in their numbers."""
    plan = draw(plans())
    arguments, how = draw(commands(plan)), draw(st.integers(0, 7))
    if how == 0:
        return Input(arguments, mutated(random.Random(draw(st.integers(0, 2**32)))))
    text = "\n".join(worse(draw, lines(draw, plan)) if how == 1 else lines(draw, plan))
    return Input(arguments, text.encode(errors="surrogatepass"))


def worse(draw: st.DrawFn, written: list[str]) -> list[str]:
    """Change one line of a case: leave it out, repeat it, give it another's value, or put a token into it."""
    at, other = draw(st.integers(0, len(written) - 1)), draw(st.sampled_from(written))
    key, _, value = written[at].partition(": ")
    place, token = draw(st.integers(0, len(value))), draw(st.sampled_from(TOKENS))
    changed = [
        [],
        [written[at]] * 2,
        [f"{key}: {other.partition(': ')[2]}"],
        [f"{key}: {value[:place]}{token}{value[place:]}"],
        [f"{key}: {value[:place]}{token}{value[place + 1 :]}"],
    ]
    return [*written[:at], *draw(st.sampled_from(changed)), *written[at + 1 :]]


def mutated(rng: random.Random) -> bytes:
    """Make one file of the corpus worse in up to eight places, in most files in one."""
    data = bytearray(rng.choice(CORPUS))
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        at, until = sorted(rng.randint(0, len(data)) for _ in "ab")
        until = min(until, at + rng.choice([0, 1, 8, 64]))
        piece = [
            b"",
            bytes([rng.randrange(256)]),
            rng.choice(TOKENS).encode(),
            data[at:until] * rng.choice([2, 2, 50]),
            rng.choice(CORPUS)[at:until],
        ]
        data[at:until] = rng.choice(piece)
    return bytes(data)


def listed(items: list[str]) -> str:
    return f"[{', '.join(items)}]"
