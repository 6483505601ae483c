"""Test vectors: batches with their true losses, and how near a loss must come, for who cannot call xent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import atlas
from xentcli.check.plan import case_spec
from xentcli.check.tolerance import MaxUlps
from xentcli.errors import XentError
from xentcli.formats import FORMATS, nearest, ulp
from xentcli.frameworks.conventions import CONVENTIONS, OPTIONS
from xentcli.frameworks.program import LABELS
from xentcli.frameworks.request import arrays
from xentcli.judge.exact import compute_exact, losses_to_digits

if TYPE_CHECKING:
    from xentcli.check.probes import Probe
    from xentcli.formats import BoolArray, FloatArray
    from xentcli.model import Case

_TAKES: Final = (*OPTIONS, "reduction")  # a file of vectors has no key for a knob
_DIGITS: Final = 40  # of a loss: more than float128 has


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A batch, its truth, and how near a loss must come.

    ``kind`` of labels is indices, rows or binary. ``logits`` (N, C), or (N,) where it is binary, hold numbers
    of ``dtype`` in float64; ``labels`` (N,) int64, or float64 in the shape of the logits. ``options`` are
    class weights (C,), label smoothing and the index that is ignored, by the keys of ``conventions.OPTIONS``.

    ``losses`` (N,), ``gradient`` and ``mean`` and ``sum`` are correctly rounded to the dtype, in float64; nan
    where there is none. ``exact`` has the losses to 40 digits. ``allowance`` (N,) is in ulps, as of
    ``xent check``, and ``tolerance`` (N,) the same as a difference from the loss, 0 where that is not finite.
    ``nan_allowed`` (N,): nan is as good an answer. ``may_be_refused``: an exception is.
    """

    name: str
    title: str
    kind: str
    dtype: str
    logits: "FloatArray"
    labels: Any
    options: dict[str, Any]
    losses: "FloatArray"
    exact: tuple[Decimal, ...]
    mean: float
    sum: float
    gradient: "FloatArray"
    allowance: "FloatArray"
    tolerance: "FloatArray"
    nan_allowed: "BoolArray"
    may_be_refused: bool


def vectors(cases: "Sequence[Case]" = (), show: Callable[[float], None] = lambda _: None) -> list[Vector]:
    """Return a vector per case, of every bundled one where none is named; ``show`` takes the share done.

    Of a batch so large that its truth is sampled, the sampled rows are the vector. Raises XentError for a
    case that is named and asks for what no loss is given.
    """
    made = []
    chosen = cases or [entry.case for entry in atlas.entries()]
    for number, case in enumerate(chosen):
        vector = _vector(case)
        if isinstance(vector, Vector):
            made.append(vector)
        elif cases:
            raise XentError(f"{case.name}: {vector}")
        show((number + 1) / len(chosen))
    return made


def _vector(case: "Case") -> Vector | str:
    """Return the vector of a case, with indices where they say the same as rows, or why it has none."""
    specs = {kind: case_spec(case, CONVENTIONS[name], _TAKES) for kind, name in LABELS.items()}
    kind = next((kind for kind, spec in specs.items() if spec.unsupported is None), None)
    if kind is None:
        return str(specs["binary" if case.batch.binary else "rows"].unsupported)
    (probe,) = specs[kind].probes
    form, rows = FORMATS[case.dtype], list(probe.truth.rows)
    request = probe.request()
    logits, labels = (array[rows] for array in arrays(request))
    losses = np.array([nearest(loss, form) for loss in probe.truth.losses], np.float64)
    allowance = np.array(list(_allowances(probe)), np.float64)
    units = [
        float(ulp(true, form)) if np.isfinite(loss) else 0.0
        for true, loss in zip(probe.truth.losses, losses, strict=True)
    ]
    return Vector(
        name=case.name,
        title=case.title,
        kind=kind,
        dtype=case.dtype,
        logits=logits,
        labels=labels,
        options={name: request["keywords"][name] for name in OPTIONS if name in request["keywords"]},
        losses=losses,
        exact=losses_to_digits(case.batch, rows, _DIGITS),
        mean=_reduced(probe, "mean"),
        sum=_reduced(probe, "sum"),
        gradient=np.array(probe.truth.gradients, np.float64).reshape(logits.shape),
        allowance=allowance,
        tolerance=allowance * units,
        nan_allowed=np.array([np.isnan(loss) for loss in losses], bool)
        | np.array([probe.is_poisoned(row) for row in rows], bool),
        may_be_refused=probe.may_be_refused,
    )


def _allowances(probe: "Probe") -> Iterator[float]:
    for row, true in zip(probe.truth.rows, probe.truth.losses, strict=True):
        yield probe.allowance(row, true, MaxUlps())


def _reduced(probe: "Probe", reduction: str) -> float:
    """Return the mean or sum, rounded; nan where it is undefined or rows were sampled."""
    loss = compute_exact(probe.batch, probe.dtype, reduction).loss
    return np.nan if loss is None else nearest(loss, FORMATS[probe.dtype])
