"""What there is to say of a finding, a method, a framework's function or a case, as a page."""

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xentcli.digits import format_number
from xentcli.formats import FORMATS, nearest
from xentcli.frameworks import FrameworkMethod
from xentcli.identifiers import identifier
from xentcli.show.cells import numerics
from xentcli.show.listings import labels_supported
from xentcli.show.page import Code, Command, Detail, Facts, Page
from xentcli.show.sentences import judged
from xentcli.words import CLASSES, COPIES, EXAMPLES

if TYPE_CHECKING:
    from xentcli.judge import Result
    from xentcli.judge.findings.finding import Finding
    from xentcli.methods.method import Method
    from xentcli.model import Judgement

_FEW = 8  # numbers that are shown one by one
LIBRARIES = {"numpy": "NumPy", "torch": "torch", "jax": "JAX", "keras": "Keras"}
_SOURCE = "Source: "  # as a docstring begins its last paragraph
MODULES = "F is torch.nn.functional, jnp is jax.numpy, ops is keras.ops"


@cache
def words() -> dict[str, Any]:
    """Return remedies, mistakes, words of findings and words of methods: the files of ``words/``."""
    files = sorted(Path(__file__).with_name("words").glob("*.toml"))
    return tomllib.loads("\n".join(file.read_text(encoding="utf-8") for file in files))


def finding_page(finding: "Finding", result: "Result", cases: Sequence[str]) -> Page:
    """Make the page of a finding: ``result`` is that of all methods on its case, ``cases`` have it."""
    advice = words()["findings"][finding.name]
    remedy, mistake = words()["remedies"][advice["remedy"]], words()["mistakes"][advice["mistake"]]
    methods: dict[str, list[str]] = {}
    beside: dict[str, None] = {}
    for outcome, judgement in judged(result):
        if finding.name in judgement.all_findings:
            methods.setdefault(_how(judgement), []).append(outcome.method)
            beside |= dict.fromkeys(judgement.all_findings)
    shows: Facts = {
        "shows as": tuple(f"{how}: {', '.join(names)}" for how, names in methods.items()),
        "no fault": advice["no_fault"],
    }
    context: Facts = {
        "identifier": identifier("finding", finding.name),
        "case": f"{finding.case}: {result.case.title}",
        "also in": ", ".join(name for name in cases if name != finding.case),
        "found with": ", ".join(name for name in beside if name != finding.name),
        "source": finding.source,
    }
    todo: Facts = {
        "remedy": finding.remedy,
        "wrong code": (f"takes {mistake['takes']}", f"gives {advice['gives']}"),
        "elsewhere": mistake.get("why", ""),
        "right code": f"takes {remedy['takes']}",
        "note": remedy.get("note", ""),
        "modules": MODULES,
    }
    after = _next(f"explain {finding.case}", f"cases {finding.case}", f"cases --finding {finding.name}")
    blocks = (shows, todo, *_code(mistake, remedy), context, after)
    return Page("finding", finding.name, finding.cause, blocks)


# A case for a method that is right on those of all findings, by the parts that it needs.
_CASES = {
    (): "clamp-leaps",
    (EXAMPLES, COPIES): "chunk-means-are-summed",
    (CLASSES,): "smoothing-over-a-shard",
}


def method_page(method: "Method", results: "Sequence[tuple[Finding, Result]]") -> Page:
    """Make the page of a method: ``results`` has it on the case of each finding."""
    about = words()["methods"][method.name]
    prose = _paragraphs(method.described)
    source = next((paragraph for paragraph in prose if paragraph.startswith(_SOURCE)), "")
    failures = [
        (finding, judgement)
        for finding, result in results
        for outcome, judgement in judged(result)
        if outcome.method == method.name and finding.name in judgement.all_findings
        if _how(judgement) not in {"accurate", "undefined"}
    ]
    facts: Facts = {
        "formula": method.formula,
        "labels": labels_supported(method),
        "dtype": method.dtype or "the case's",
        "runs": "by default" if method.by_default else "where a case expects something of it",
        "numerics": " ".join(paragraph for paragraph in prose if paragraph != source),
        "gradient": "none" if method.gradient is None else _paragraphs(method.gradient)[0],
        "fails with": tuple(f"{finding.name}: {_how(judgement)}" for finding, judgement in failures),
    }
    context: Facts = {
        "frameworks": ", ".join(about.get("frameworks", ())),
        "source": source.removeprefix(_SOURCE).rstrip("."),
    }
    inputs = words()["inputs_of_binary" if method.binary else "inputs"]
    used = set(re.findall(r"\w+", about["numpy"]))
    takes: Facts = {"code takes": ", ".join(text for name, text in inputs.items() if name in used)}
    code: Facts = {"NumPy": Code(about["numpy"].strip())}
    case = failures[0][0].case if failures else _CASES[method.parts]
    look_up = [f"findings {failures[0][0].name}"] if failures else []
    after = _next(f"explain {case} --method {method.name}", *look_up, f"compare --methods {method.name}")
    return Page("method", method.name, about["what"], (facts, takes, code, context, after))


def function_page(method: FrameworkMethod) -> Page:
    """Make the page of a framework's function."""
    library, convention = method.library, method.convention
    alike = [name for name, about in words()["methods"].items() if method.name in about.get("frameworks", ())]
    facts: Facts = {
        "takes": convention.signature.removeprefix("f"),
        "supports": ", ".join(name.replace("_", " ") for name in method.supports),
        "formula": ", ".join(alike) and f"that of {', '.join(alike)}",
        "version": library.version or f"not installed: pip install 'xent[{library.extra}]'",
        "source": method.target,
    }
    case = "clamp-leaps" if convention.binary else "tail-collapse"
    after = _next(
        f"run {case} --methods {method.name}", f"check {method.target} --convention {convention.name}"
    )
    return Page("method", method.name, f"{method.call}, called in a process of its own.", (facts, after))


def case_page(result: "Result", folder: str) -> Page:
    """Make the page of a bundled case: ``result`` is that of the methods which it runs by default."""
    case, about, exact = result.case, result.case.about, result.exact
    form = FORMATS[case.numerics.loss_dtype]
    losses = [format_number(nearest(loss, form), form.name) for loss in exact.losses]
    truth = "" if exact.loss is None else format_number(nearest(exact.loss, form), form.name)
    facts: Facts = {
        "numerics": f"{', '.join(numerics(case))}, {'×'.join(map(str, case.batch.sizes))}",
        "truth": f"{truth}, {case.reduction} of {', '.join(losses)}" if 1 < len(losses) <= _FEW else truth,
        "printed": _expected(result, derived=False),
        "derived": _expected(result, derived=True),
        "methods": tuple(
            f"{outcome.method}: {_how(j)}{_bracketed(j.all_findings)}" for outcome, j in judged(result)
        ),
    }
    context: Facts = {
        "identifier": identifier("case", case.name),
        "folder": folder,
        "affects": tuple(f"{each.library} {each.versions} ({each.state})" for each in about.affects),
        "prints": tuple(f"{each.library} {each.version}: {each.call} → {each.text}" for each in about.prints),
        "source": tuple(each.url + _bracketed((each.title, each.date)) for each in about.sources),
    }
    after = _next(f"run {case.name}", f"explain {case.name}", f"cases show {case.name}")
    return Page("case", case.name, case.title, (facts, context, after))


def _code(mistake: dict[str, str], remedy: dict[str, str]) -> "Iterator[Facts]":
    """Yield the wrong and the right code of each library; one page has the wrong code of NumPy, -v all."""
    for key, name in LIBRARIES.items():
        wrong = Code if key == "numpy" else Detail
        yield {
            f"{name}, wrong": wrong(mistake.get(key, "").strip()),
            f"{name}, right": Code(remedy[key].strip()),
        }


def _next(*commands: str) -> Facts:
    return {"next": tuple(Command(f"xent {command}") for command in commands)}


def _bracketed(words: Sequence[str | None]) -> str:
    text = ", ".join(filter(None, words))
    return f" ({text})" if text else ""


def _how(judgement: "Judgement") -> str:
    """Return the verdict, and the state of the gradient where it is a wrong one."""
    if judgement.gradient is None or not judgement.has_wrong_gradient:
        return judgement.verdict
    return f"{judgement.verdict}, gradient {judgement.gradient.state}"


def _expected(result: "Result", *, derived: bool) -> tuple[str, ...]:
    """Write what the source printed, or what follows from the definition."""
    expectations = (each for each in result.case.expectations if each.derived is derived)
    numbers = (
        (e.quantity, " ".join(e.texts) if len(e.texts) <= _FEW else f"{len(e.texts)} numbers")
        for e in expectations
    )
    return tuple(f"{quantity}: {shown}" for quantity, shown in numbers)


def _paragraphs(function: "Callable[..., object]") -> list[str]:
    """Return the paragraphs of a docstring, which says how a formula behaves and where it is from."""
    paragraphs = (function.__doc__ or "").replace("``", "").split("\n\n")
    return [" ".join(paragraph.split()) for paragraph in paragraphs]
