"""What ``import xentcli`` offers: what the command line is asked, asked by a program, of arrays or files."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xentcli.api.inputs import case_of, digits_of, loss_of, shards_of
from xentcli.api.results import CaseExplanation, Evaluation, Identification, LogitsDiagnosis, MethodResult
from xentcli.arrays import library_of
from xentcli.errors import XentError, did_you_mean, printable
from xentcli.model import Case
from xentcli.words import ARITHMETICS, DTYPES, IGNORE_INDEX, MOST_ROWS, REDUCTIONS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from xentcli.diagnose.survey import Engine
    from xentcli.judge import Result

    Path = str | os.PathLike[str]

__all__ = [
    "CaseExplanation",
    "Evaluation",
    "Identification",
    "LogitsDiagnosis",
    "MethodResult",
    "diagnose_logits",
    "evaluate",
    "explain_case",
    "identify_value",
    "load_case",
]


def load_case(
    source: "Path",
    *,
    dtype: str | None = None,
    arithmetic: str | None = None,
    reduction: str | None = None,
) -> Case:
    """Load a case: a file, the name of a bundled one, or the text of a case, which has a line end.

    ``dtype``, ``arithmetic`` and ``reduction`` take the place of the case's own, whose expectations are then
    set aside. Raises XentError, with all problems and their places, for what is no case.
    """
    from xentcli.load import Overrides, load, load_all
    from xentcli.load.sources import Source, read_all

    words = {"dtype": (dtype, DTYPES), "arithmetic": (arithmetic, ARITHMETICS)}
    for name, (word, known) in {**words, "reduction": (reduction, REDUCTIONS)}.items():
        if word is not None and word not in known:
            raise XentError(f"unknown {name} '{word}'{did_you_mean(str(word), known)}")
    overrides = Overrides(dtype, arithmetic, reduction)
    if isinstance(source, str) and "\n" in source:
        return load(Source("case", "case", source.encode(errors="replace")), overrides)
    if not isinstance(source, str | os.PathLike):
        raise XentError(f"a case is a file, a name or a text, not a {type(source).__name__}")
    sources, problems = read_all([os.fspath(source)])
    if len(sources) > 1:
        raise XentError(f"{printable(str(source))}: is a folder of {len(sources)} cases; name one")
    return load_all(sources, problems, overrides)[0]


def evaluate(
    case: "Case | Path | None" = None,
    methods: str | Iterable[str] | None = None,
    *,
    logits: "ArrayLike | None" = None,
    labels: "ArrayLike | None" = None,
    **keys: Any,  # noqa: ANN401 - those of a case file
) -> Evaluation:
    """Run methods on a case, and judge them by the truth, as ``xent run`` does.

    ``case`` is what ``load_case`` returns or takes. Or ``logits`` (N, C) with ``labels``, N class indices or
    (N, C) probabilities, or N logits with N labels from 0 to 1, and ``keys`` of a case file: ``reduction``,
    ``ignore_index``, ``class_weights``, … ``methods`` names methods and groups, such as ``"naive,dense"``,
    ``"all"`` or ``["torch"]``; without it those run that the case runs by default. Raises XentError.
    """
    return Evaluation.of(_result(_case(case, logits, labels, keys), methods))


def explain_case(
    case: "Case | Path | None" = None,
    method: str | None = None,
    example: int | None = None,
    *,
    logits: "ArrayLike | None" = None,
    labels: "ArrayLike | None" = None,
    **keys: Any,  # noqa: ANN401 - those of a case file
) -> CaseExplanation:
    """Follow a method step by step on one example of a case, as ``xent explain`` does.

    Without a method the first that is wrong, without an example the worst; a case or arrays as in
    ``evaluate``. Raises XentError for a method that does not support the case, and one of a framework.
    """
    from xentcli import frameworks
    from xentcli.explain import explain
    from xentcli.methods.table import select

    if method in frameworks.NAMES or ":" in (method or ""):
        raise XentError(f"xent's own methods can be explained step by step; {method} is another's")
    if method is not None and len(select(method, frameworks.NAMES)) > 1:
        raise XentError(f"explain_case expects one method, not the group '{method}'")
    return CaseExplanation.of(explain(_result(_case(case, logits, labels, keys), method), method, example))


def identify_value(  # noqa: PLR0913 - each is an option of xent identify
    value: "str | ArrayLike",
    true: "str | ArrayLike | None" = None,
    *,
    batch: tuple[int, ...] | None = None,
    valid: int | None = None,
    ranks: int | None = None,
    accumulation: int | None = None,
    vocabulary: int | None = None,
) -> Identification:
    """Say what a loss that does not move may mean, as ``xent identify`` does.

    Give it as it was printed, where you have the text: all digits of a float are compared. ``true`` is the
    loss that it should be. The shape of a ``batch`` of labels, how many of them are ``valid``, ``ranks``,
    steps of ``accumulation`` and the size of the ``vocabulary`` name the denominators that explain it.
    Raises XentError for fewer than three digits, for nan and infinities, and for a number below 1.
    """
    from xentcli.identify import identify
    from xentcli.identify.denominators import Run

    typed = digits_of(value, "value")
    run = Run(batch, valid, ranks, accumulation, vocabulary)
    return Identification(typed, identify(typed, None if true is None else digits_of(true, "true"), run))


def diagnose_logits(  # noqa: PLR0913 - each is an option of xent diagnose
    logits: "ArrayLike | Path | Sequence[Path]",
    labels: "ArrayLike | Path | Sequence[Path] | None" = None,
    *,
    ignore_index: int | None = None,
    loss: str | Callable[..., Any] | None = None,
    convention: str | None = None,
    observed: "str | ArrayLike | None" = None,
    losses: "ArrayLike | Path | Sequence[Path] | None" = None,
    class_axis: int | None = None,
    shift: bool = False,
    binary: bool = False,
    logits_name: str | None = None,
    labels_name: str | None = None,
    clip: tuple[float, float] | None = None,
    rows: int = 5,
    engine: "Engine | None" = None,
) -> LogitsDiagnosis:
    """Say what is wrong with logits, or what a loss makes of them, as ``xent diagnose`` does.

    ``logits`` (N, C) or (…, C) with ``labels``, class indices (N,) or probabilities of the logits' shape;
    the classes are on ``class_axis``, of (N, C, …) too. Or one logit per row, ``binary``, with labels from 0
    to 1. Or names of .npy, .npz, .safetensors and .pt files, in which labels may lie too, as ``logits_name``
    and ``labels_name``. ``shift`` judges each position of (B, T, C) with the label of the next. ``losses``
    are what was recorded of each row, and are compared with the truth. ``loss`` is yours: a
    function, ``"mine.py:loss"`` or the name of a method, called by a ``convention`` of ``xent check`` that is
    found unless given; ``observed`` is the loss that you saw. The worst ``rows`` are shown, 1 to 100. Labels
    of -100 are ignored unless ``ignore_index`` is given, and of a file of ``watch`` what the step ignored.
    ``engine`` has parts of files summed up elsewhere than by threads of this process; see docs/scale.md.

    Raises XentError for arrays that do not go together, files that cannot be read, and what is no loss.
    """
    from xentcli.diagnose.diagnosis import diagnosis_of
    from xentcli.diagnose.dumps import Layout
    from xentcli.diagnose.rules import rules_for
    from xentcli.diagnose.saved import ignored_by, observed_in
    from xentcli.diagnose.survey import survey

    if not 1 <= rows <= MOST_ROWS:
        raise XentError(f"rows is {rows}; expected 1 to {MOST_ROWS}")
    seen = None if observed is None else digits_of(observed, "observed")
    try:
        float(seen or 0)
    except ValueError:
        raise XentError(f"observed is '{seen}'; give nan, inf or the number that was printed") from None
    layout = Layout(logits_name, labels_name, binary=binary, shift=shift)
    dump = shards_of(logits, labels, losses, class_axis, layout)
    steps = [shard.saved for shard in dump]
    ignored = ignored_by(steps) if ignore_index is None else ignore_index
    ignored = IGNORE_INDEX if ignored is None else ignored
    seen = observed_in(steps) if seen is None and loss is None else seen
    rules = rules_for(dump[0].format, clip) if dump[0].kind == "indices" else None
    library = library_of(logits)
    with loss_of(dump, loss, convention, clip=clip, ignore_index=ignored, library=library) as asked:
        found = survey(dump, ignored, rules, most=rows, loss=asked, engine=engine)
    if found.stopped is not None:
        raise found.stopped
    if not found.complete:
        raise KeyboardInterrupt
    return LogitsDiagnosis.of(diagnosis_of(found), observed=seen)


def _case(
    case: "Case | Path | None",
    logits: "ArrayLike | None",
    labels: "ArrayLike | None",
    keys: "dict[str, Any]",
) -> Case:
    """Return the case that is given, or that of the arrays."""
    if case is None and logits is not None and labels is not None:
        return case_of({"logits": logits, "labels": labels, **keys})
    if case is None:
        raise XentError("give a case, or both logits= and labels=")
    if logits is not None or labels is not None or keys:
        names = ", ".join(["logits", "labels", *keys])
        raise XentError(
            f"give a case or arrays, not both; {names} belong to arrays, and load_case takes dtype"
        )
    if isinstance(case, Case):
        return case
    if isinstance(case, str | os.PathLike):
        return load_case(case)
    raise XentError("a case is what load_case returns or takes; give arrays as logits= and labels=")


def _result(case: Case, methods: str | Iterable[str] | None) -> "Result":
    """Run methods on a case, those that it runs by default without any, and judge them."""
    from xentcli import frameworks
    from xentcli.frameworks import runner
    from xentcli.methods.table import select
    from xentcli.run import evaluate as evaluated

    if methods is None:
        return evaluated(case)
    listed = [methods] if isinstance(methods, str) else list(methods)
    if other := [each for each in listed if not isinstance(each, str)]:
        raise XentError(f"methods are names, not a {type(other[0]).__name__}; a function is 'mine.py:loss'")
    names = ",".join(listed)
    theirs, rest = frameworks.select(names)
    chosen = () if theirs and not rest else select(rest, frameworks.NAMES)
    others = runner.run([case], theirs)[0] if theirs else ()
    overridden = tuple(dict.fromkeys((*case.overridden, "methods")))  # its expectations are no longer held
    return evaluated(replace(case, overridden=overridden), chosen, others)
