"""The documents that xent writes are those that the JSON Schemas in ``schemas`` describe, key by key."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import ROOT, Xent, first
from test_dumps import poisoned
from test_program import Inside
from test_schema_files import Document, properties_of, schema_of
from top_k_dumps import cut, saved

from xentcli.bridge.options import BadLossWarning
from xentcli.bridge.watch import watch
from xentcli.frameworks import program as programs
from xentcli.frameworks.conventions import NAMES
from xentcli.methods.steps import NAMES as STEP_NAMES
from xentcli.words import Z_LOSS

RIGHT, RUDE, WRONG = (f"tests/losses/{name}.py" for name in ("right", "rude", "wrong"))
KNOWN = "--baseline known.toml --against errors.json"
# What only workers of other versions, libraries and large batches leave; the tests of those look at it.
ELSEWHERE = {"notes", "version", "previous_step", "sampled"}
Written = Callable[[str], list[Document]]  # the name of a schema → documents of it

# The commands that write each kind of document; files are those of ``dumps``.
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": (
        f"run abnormal weighted-mean affected.yaml finfo-min-mask --methods all,{RUDE}:writes_and_raises",
        "run cases",
        "run abnormal --dtype float64 --arithmetic numpy --reduction none",
        "compare cases/binary abnormal masked-label",
    ),
    "explain": ("explain abnormal", "explain normal-3x3 --method sparse", "explain keras-cap --method log1p"),
    "check": (
        f"check {WRONG}:unshifted --only overflow --only search --only translation --skip translation=no",
        f"check {RIGHT}:log1p --only low-precision --beside {WRONG}:maximum_in_the_sum --max-ulps float32=8",
        f"check {WRONG}:maximum_in_the_sum --only properties --only keras-cap {KNOWN}",
    ),
    "record": (),  # what ``check --record`` writes beside its results
    "diagnose": (
        "diagnose logits.npy --labels labels.npy",
        "diagnose logits.npy",
        "diagnose binary.npz --binary",
        "diagnose soft.npz",
        "diagnose bits.npz --losses-name losses",
        "diagnose bits.npz damaged.npz --keep-going",
        "diagnose gaps.npz --method naive",
        f"diagnose gaps.npz --loss {WRONG}:unshifted",
        "diagnose empty.npz",
        "diagnose xent-000812.npz",
    ),
    "diagnose-top-k": (
        "diagnose top-k.npz",
        "diagnose bounds.npz",
        "diagnose broken.npz damaged.npz --keep-going",
    ),
    "against": (
        "diagnose logits.npy --against logits.npy",
        "diagnose bits.npz --against gaps.npz",
        "diagnose bits.npz --against soft.npz",
    ),
    "identify": ("identify 16.118 0.34657 0.123456", "identify 3.14 --true 1.57"),
    "sweep": (
        "sweep --gap 0:30 --points 5 --methods sparse,clipped",
        "sweep --offset 1:1e4 --points 5 --methods unshifted --dtype bfloat16,float32",
        "sweep --scale 1:9 --points 5 --methods sparse",
        "sweep --classes 2:9 --points 5 --spacing linear --methods sparse",
        "sweep --smoothing 0:1 --points 5 --methods sparse",
        "sweep --label-rank 1:9 --points 5 --methods sparse",
        "sweep masked-class --logit 0,1=0:9 --points 5 --methods sparse",
        f"sweep --scale 1:9 --points 3 --methods {RUDE}:writes_and_raises",
    ),
    "batch": (),  # what ``watch`` writes
    "loss": (),  # what is said between xent and a program
    "vectors": (
        "abnormal weighted-mean pad-is-eos smoothing-meets-mask sigmoid-underflows",
    ),  # for ``export``
}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a dump of each kind, a case of which examples are sampled, and one that names versions."""
    folder = tmp_path_factory.mktemp("dumps")
    random = np.random.default_rng(0)
    x, k = random.normal(scale=2, size=(60, 10)).astype(np.float32), np.arange(60) % 10
    wide = x.astype(np.float64)
    loss = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(60), k]
    poisoned(folder, rows=2000)
    np.savez(folder / "bits.npz", logits=x, labels=k, losses=(loss / np.log(2)).astype(np.float32))
    np.savez(folder / "soft.npz", logits=x, labels=np.full((60, 10), 0.1, np.float32))
    np.savez(folder / "binary.npz", logits=x[:, 0], labels=np.full(60, 0.25))
    gaps = x.copy()
    gaps[:3, 1], gaps[3:, 1] = 200, 50
    np.savez(folder / "gaps.npz", logits=gaps, labels=np.zeros(60, np.int64))
    np.savez(folder / "empty.npz", logits=x[:0], labels=k[:0])
    (folder / "damaged.npz").write_bytes(b"no file of arrays")
    arrays, _ = cut()
    saved(folder / "top-k.npz", arrays)
    saved(folder / "bounds.npz", {name: arrays[name] for name in ("values", "indices", "labels")})
    arrays["values"][3] = np.nan
    saved(folder / "broken.npz", {name: arrays[name] for name in ("values", "indices")})
    (folder / "affected.yaml").write_text(
        "logits: [[1, 2]]\nlabels: [0]\naccumulate: [float64, sequential]\nflush_subnormals: true\n"
        "source: [{url: u, title: t, date: 2018}]\naffects: [{library: l, versions: v, state: open}]\n"
        "prints: [{library: l, version: v, call: c, text: t}]\nlabel_smoothing: 0.1\nignore_index: -1\n"
    )
    (folder / "known.toml").write_text(
        'suite = 1\n[[known]]\ncheck = "keras-cap"\nfails = "collapsed"\nreason = "r"\nurl = "u"\n'
        '[[known]]\ncheck = "permutation"\nfails = "differs"\nulps = 1\nreason = "r"\n'
    )
    errors = [{"check": "keras-cap", "dtype": "float64", "ulps": 1}]
    record = {"schema": "xent.record/1", "convention": "numpy", "device": "cpu", "errors": errors}
    (folder / "errors.json").write_text(json.dumps(record))
    x[12, 7] = np.inf
    with pytest.warns(BadLossWarning):
        watch(np.array(np.nan), x, k, step=812, dir=str(folder), on="warn")
    return folder


LONG = 10
WRITTEN: dict[str, list[Document]] = {}


@pytest.fixture
def written(xent: Xent, dumps: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Return what runs the commands of a kind of document, once, and returns what they write."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    here = {path.name: str(path) for path in dumps.iterdir()}

    def run(line: str) -> str:
        ended = xent(*(here.get(word, word) for word in line.split()), "--format", "json")
        assert ended.out, ended.err
        return ended.out

    def write(name: str) -> list[Document]:
        if name == "record":
            run(f"check {RIGHT}:log1p --only low-precision --record {dumps / 'record.json'}")
            return list(documents_in((dumps / "record.json").read_text(encoding="utf-8")))
        if name == "batch":
            with np.load(dumps / "xent-000812.npz") as file:
                return [json.loads(str(file["meta"]))]
        if name == "loss":
            return said()
        if name == "vectors":
            file = dumps / "vectors.json"
            assert xent("export", *COMMANDS[name][0].split(), "-o", file).code == 0
            return [shortened(json.loads(file.read_text(encoding="utf-8")))]
        if name not in WRITTEN:
            WRITTEN[name] = list(documents_in("".join(map(run, COMMANDS[name]))))
        return WRITTEN[name]

    return write


def said() -> list[Document]:
    """Return every kind of line that is said between xent and a program, of one with all that there is."""
    given = {"class_weights": [1.0, 2.0], "label_smoothing": 0.125, "ignore_index": -1}
    given |= dict.fromkeys((*STEP_NAMES, Z_LOSS), 0.5)
    request = {"dtype": "float32", "shape": (1, 2), "scores": [0.0, 1.0], "labels": [0], "keywords": given}
    lines: list[Document] = []

    class Noted(Inside):
        def receive_line(self, seconds: float) -> str:
            line = super().receive_line(seconds)
            lines.extend((self.request, json.loads(line)))
            return line

    takes = f"reply['takes'] = {[*NAMES, 'reduction']}"
    change = f"if not asked: {takes}\nelif 'losses' in reply: reply['loss'] = '0x1p+0'"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "program", lambda _: Noted(change))
        program = programs.Program("true", math.inf)
        for label in (0, 7):
            program.respond({**request, "labels": [label], "reduction": "mean"})
    return lines


def documents_in(text: str) -> Iterator[Document]:
    """Yield documents that stand one after the other."""
    end = 0
    while end < len(text):
        document, end = json.JSONDecoder().raw_decode(text, end)
        yield shortened(document)
        end += 1  # the end of the line


def shortened(value: Any) -> Any:
    """Return a document without the repeated numbers of long lists, which a schema looks at one by one."""
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        short = [shortened(inner) for inner in value]
        return short if len(short) <= LONG else list({json.dumps(inner): inner for inner in short}.values())
    return value


def strict(schema: Document) -> jsonschema.Draft202012Validator:
    """Return what refuses a key that a schema does not describe."""
    text = json.dumps(schema).replace('"additionalProperties": true', '"additionalProperties": false')
    return jsonschema.Draft202012Validator(json.loads(text))


VALIDATORS = {name: strict(schema_of(name)) for name in COMMANDS}


@pytest.mark.parametrize("name", first(1, COMMANDS))
def test_a_schema_accepts_what_is_written_and_describes_each_key(name: str, written: Written) -> None:
    tolerant = jsonschema.Draft202012Validator(schema_of(name))

    for document in written(name):
        VALIDATORS[name].validate(document)
        assert tolerant.is_valid({**document, "added later": 1})


def test_the_schema_of_run_describes_a_sample(xent: Xent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xentcli.judge.exact._MOST_ROWS", 2)

    (document,) = documents_in(xent("run", "normal-3x3", "--format", "json").out)

    assert len(document["cases"][0]["exact"]["sampled"]) == 2
    VALIDATORS["run"].validate(document)


@pytest.mark.parametrize("name", ["diagnose", "diagnose-top-k"])
def test_the_schema_of_a_dump_describes_notes(name: str, written: Written) -> None:
    document = written(name)[0]

    assert VALIDATORS[name].is_valid({**document, "notes": ["workers have another NumPy"]})
    assert not VALIDATORS[name].is_valid({**document, "notes": "workers have another NumPy"})


@pytest.mark.frameworks
def test_the_schemas_describe_what_a_library_leaves(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    x, k = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    lines = {
        "run": "run normal-3x3 --methods torch",
        "sweep": "sweep --gap 0:30 --points 3 --methods torch",
    }

    for name, line in lines.items():
        (document,) = documents_in(xent(*line.split(), "--format", "json").out)
        part = document["cases" if name == "run" else "curves"][0]["methods"][0]
        assert part["version"]
        VALIDATORS[name].validate(document)
    for step, loss in enumerate((1.0, math.nan)):
        with nullcontext() if step == 0 else pytest.warns(BadLossWarning):
            watch(torch.tensor(loss), x, k, step=step, on="warn", previous=True)
    with np.load("xent-000001.npz") as file:
        meta = json.loads(str(file["meta"]))
    assert meta["previous_step"] == 0
    VALIDATORS["batch"].validate(meta)


@pytest.mark.slow
def test_the_schema_of_run_accepts_every_method_on_every_case(xent: Xent) -> None:
    (document,) = documents_in(xent("run", "cases", "--methods", "all", "--format", "json").out)

    VALIDATORS["run"].validate(document)


@pytest.mark.parametrize("name", first(1, COMMANDS))
def test_no_key_is_described_that_nothing_writes(name: str, written: Written) -> None:
    seen: set[str] = set()
    known = jsonschema.Draft202012Validator.VALIDATORS["properties"]

    def properties(validator: Any, described: Document, instance: Any, schema: Document) -> Iterator[Any]:
        seen.update(described[key]["description"] for key in described.keys() & (instance or {}))
        yield from known(validator, described, instance, schema)

    looking = jsonschema.validators.extend(  # type: ignore[no-untyped-call]  # types-jsonschema leaves it out
        jsonschema.Draft202012Validator, {"properties": properties}
    )
    for document in written(name):
        assert looking(schema_of(name)).is_valid(document)

    described = {about["description"]: key for key, about in properties_of(schema_of(name))}
    assert {key for words, key in described.items() if words not in seen} <= ELSEWHERE


@pytest.mark.parametrize("name", COMMANDS)
def test_a_document_without_a_key_that_is_required_is_refused(name: str, written: Written) -> None:
    schema, document = schema_of(name), written(name)[0]
    assert set(schema["required"]) >= {"schema"}

    for key in schema["required"]:
        less = {other: value for other, value in document.items() if other != key}
        assert not jsonschema.Draft202012Validator(schema).is_valid(less), key


TWINS: tuple[tuple[str, str, Any, Any], ...] = (
    ("run", "schema", "xent.run/1", "xent.run/2"),
    ("run", "cases 0 exact loss", "nan", "NaN"),
    ("run", "cases 0 exact loss", -1.5e300, True),
    ("run", "cases 0 exact losses", ["-inf"], ["-Infinity"]),
    ("run", "cases 0 exact gradient", [[0.5]], [0.5]),
    ("run", "cases 0 dtype", "bfloat16", "float8"),
    ("run", "cases 0 shape", [3], []),
    ("run", "cases 0 methods 0 ulps", "1.00000000000000000e+400", "inf"),
    ("run", "cases 0 methods 0 ulps", None, -1),
    ("run", "cases 0 methods 0 verdict", "capped", "clipped"),
    ("run", "cases 0 methods 0", {"method": "m", "loss": None, "losses": [], "raised": "r"}, {"method": "m"}),
    ("run", "cases 0 methods 0", {"method": "m", "loss": None, "losses": [], "inapplicable": "i"}, {}),
    ("run", "cases 0 expectations 0 got", [[1.0, "nan"]], [[[1.0]]]),
    ("run", "summary cases", 0, -1),
    ("explain", "explanations 0 gradient", None, ""),
    ("explain", "explanations 0 steps 0 values", ["inf"], "inf"),
    ("check", "checks 0 status", "not reached", "late"),
    ("check", "checks 0 severity", None, "bad"),
    ("check", "passed", False, 0),
    ("check", "summary not_reached", 1, 1.5),
    ("diagnose", "worst 0 row_in_step", None, 0.5),
    ("diagnose", "worst 0 label", 0.25, "0.25"),
    ("diagnose", "findings 0 clip", [0.1, 1], [0.1]),
    ("diagnose", "losses", None, 0.5),
    ("diagnose", "losses quantiles", [[0.5, 1.25]], [[1.25, 0.5, 0.5]]),
    ("diagnose", "offset", "nan", None),
    ("diagnose-top-k", "logsumexp", None, "int64"),
    ("diagnose-top-k", "inside mean", None, "none"),
    ("identify", "candidates 0 share", "1/2", "0.5"),
    ("sweep", "quantity", "label-rank", "label_rank"),
    ("sweep", "curves 0 breakdowns 0 last_before", None, "none"),
    ("sweep", "curves 0 methods 0 verdicts 0", "", None),
    ("batch", "loss", ["nan"], [1.0]),
    ("loss", "schema", "xent.loss/1", "xent.loss/2"),
    ("loss", "ask", "describe", "losses"),
    ("vectors", "vectors 0 losses 0", "0x1.8p+1", "1.5"),
    ("vectors", "vectors 0 exact 0", "2.5e-18", "0x1p+0"),
    ("vectors", "vectors 0 kind", "rows", "row"),
    ("batch", "versions xent", "", 1),
)


@pytest.mark.parametrize(("name", "place", "right", "wrong"), first(7, TWINS))
def test_of_twins_the_schema_accepts_the_right_one_alone(
    name: str, place: str, right: Any, wrong: Any, written: Written
) -> None:
    document: Any = deepcopy(written(name)[0])
    way: list[Any] = [int(word) if word.isdigit() else word for word in place.split()]
    *outer, last = way
    inner = document
    for key in outer:
        inner = inner[key]

    verdicts = []
    for value in (right, wrong):
        assert isinstance(inner, list) or last in inner
        inner[last] = value
        verdicts.append(jsonschema.Draft202012Validator(schema_of(name)).is_valid(document))

    assert verdicts == [True, False]
