"""The example that a sweep varies: a plain one, or one of a case."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli.errors import XentError
from xentcli.load.build import build_batch
from xentcli.model import Numerics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from xentcli.formats import FloatArray
    from xentcli.model import Batch, Case
    from xentcli.sweep.quantities import Quantity

# What the plain example has unless it is given or varied. An offset is looked at where logits are equal: the
# true loss is ln C at every offset then.
DEFAULTS: Final[dict[str, float]] = {
    "gap": 1.0,
    "offset": 0.0,
    "scale": 1.0,
    "classes": 2,
    "smoothing": 0.0,
    "label-rank": 1,
}
DEFAULTS_BESIDE: Final[dict[str, dict[str, float]]] = {
    "offset": {"gap": 0.0},
    "classes": {"gap": 0.0},
    "smoothing": {"gap": 10.0},
    "label-rank": {"classes": 100},
}


@dataclass(frozen=True, eq=False)
class Example:
    """What is varied, in a format: ``logits`` (C,) float64, the label, and how numbers are carried out.

    ``label`` is a class, or the label row (C,); of a binary example both are one number. ``place`` is the
    class whose logit is varied. ``options`` are those of ``build_batch``. ``settings`` are the fixed
    quantities of a plain example, None of a case's.
    """

    logits: "FloatArray"
    label: Any
    numerics: Numerics
    options: "dict[str, Any]" = field(default_factory=dict)
    settings: "dict[str, float] | None" = None
    place: int | None = None
    case: "Case | None" = None
    row: int = 0

    @property
    def is_binary(self) -> bool:
        """Whether it has one logit."""
        return self.case is not None and self.case.batch.binary

    @property
    def label_class(self) -> int | None:
        """The class of the label; None of a label row that is not one-hot, and of a binary example."""
        if self.is_binary:
            return None
        if np.ndim(self.label) == 0:
            return int(self.label)
        is_one_hot = (self.label == 1).sum() == 1 and (self.label != 0).sum() == 1
        return int(self.label.argmax()) if is_one_hot else None

    @property
    def gap(self) -> float:
        """The logit of the label's class less the largest other; of a binary example that for its label."""
        if self.is_binary:
            return float(self.logits[0]) * (1 if self.label == 1 else -1)
        *others, own = (float(x) for x in np.roll(self.logits, -1 - (self.label_class or 0)))
        return own - max(others, default=0.0)

    def batches(self, quantity: "Quantity", values: "Sequence[float]") -> "Iterator[Batch]":
        """Yield batches that together have a row per value, in order."""
        if not quantity.is_shape:
            yield self._batch(*self._rows(quantity, np.array(values, np.float64)))
        elif self.settings is not None:
            for value in values:
                yield standard_example({**self.settings, quantity.name: value}, self.numerics).batch()
        else:
            for value in values:
                yield replace(self, options={**self.options, "label_smoothing": value}).batch()

    def batch(self) -> "Batch":
        """Return the example as a batch of one row."""
        return self._batch(self.logits[None], np.array([self.label]))

    def _batch(self, logits: "FloatArray", labels: "NDArray[Any]") -> "Batch":
        logits = logits[:, 0] if self.is_binary else logits
        with np.errstate(over="ignore"):  # a logit beyond the format is infinite
            return build_batch(logits, labels, self.numerics.dtype, **self.options)

    @np.errstate(over="ignore", invalid="ignore")  # 0 times an infinite logit is nan
    def _rows(self, quantity: "Quantity", values: "FloatArray") -> "tuple[FloatArray, NDArray[Any]]":
        """Return logits (n, C) and labels of the example varied."""
        logits = np.repeat(self.logits[None], len(values), axis=0)
        labels = np.repeat(np.array([self.label]), len(values), axis=0)
        label, column = self.label_class, values[:, None]
        if self.settings is not None and quantity.name in {"gap", "offset", "scale"}:
            falls = self.settings["label-rank"] > 1
            logits = _plain_logits({**self.settings, quantity.name: column}, falls=falls)
        elif quantity.name == "offset":
            logits = logits + column
        elif quantity.name == "scale":
            logits = logits * column
        elif quantity.name == "logit":
            logits[:, self.place] = values
        elif quantity.name == "label-rank":
            order = np.argsort(-self.logits, kind="stable")
            labels = order[values.astype(np.int64) - 1]
        elif self.is_binary:
            logits = np.where(self.label == 1, column, -column)
        elif label is not None:
            others = np.delete(self.logits, label)
            logits[:, label] = values + (others.max() if len(others) else 0.0)
        return logits, labels


def standard_example(
    settings: "dict[str, float]", numerics: Numerics, *, falls: bool | None = None
) -> Example:
    """Make the plain example: the label's logit is the gap, the others are 0; then scale and offset.

    Where ``falls``, as where the label is not the largest, logits fall by the gap from class to class.
    Raises XentError where the rank is beyond the classes.
    """
    classes, rank = int(settings["classes"]), int(settings["label-rank"])
    if rank > classes:
        raise XentError(f"--label-rank {rank}: there are {classes} classes; give --classes {rank} or more")
    logits = _plain_logits(settings, falls=rank > 1 if falls is None else falls)
    smoothing = {"label_smoothing": float(settings["smoothing"])}
    return Example(logits, rank - 1, numerics, smoothing, settings)


def _plain_logits(settings: "Mapping[str, float | FloatArray]", *, falls: bool) -> "FloatArray":
    """Return the logits of the plain example; one row for each entry of a setting that is a column."""
    classes = int(settings["classes"])
    pattern = -np.arange(classes, dtype=np.float64) if falls else np.eye(1, classes)[0]
    with np.errstate(over="ignore", invalid="ignore"):
        logits: FloatArray = pattern * settings["gap"] * settings["scale"] + settings["offset"] + 0.0
    return logits


def case_example(case: "Case", row: int, place: int | None, quantity: "Quantity") -> Example:
    """Take an example of a case, without the case's probabilities, which would not follow the logits.

    Raises XentError where there is no such row or class, and where the example cannot be varied so.
    """
    batch, name = case.batch, case.name
    if not 0 <= row < len(batch.logits):
        raise XentError(f"{name} has no example {row}: {_numbers(len(batch.logits))}")
    if place is not None and not 0 <= place < batch.logits.shape[1]:
        raise XentError(f"{name} has no class {place}: {_numbers(batch.logits.shape[1])}")
    options: dict[str, Any] = {"clip": batch.clip, "tile": batch.tile}
    label: Any = batch.labels[row].astype(np.float64)
    if batch.binary:
        label = float(label[0])
    else:
        weighting = batch.weighting
        options |= {"class_weights": weighting.class_weights, "label_smoothing": weighting.smoothing}
        options |= {"smoothing_over": weighting.over}
        knobs = batch.knobs
        options |= {**dict(knobs.steps), "order": tuple(dict(knobs.steps)), "z_loss": knobs.z_loss}
        options |= {"ignore_index": weighting.ignore_index}
        label = label if batch.class_labels is None else int(batch.class_labels[row])
    logits = batch.logits[row].astype(np.float64)
    example = Example(logits, label, case.numerics, options, None, place, case, row)
    if (reason := _why_fixed(example, quantity)) is not None:
        raise XentError(f"{name}: --{quantity.name} {reason}")
    return example


def _numbers(number: int) -> str:
    return "there is only 0" if number == 1 else f"they are 0 to {number - 1}"


def _why_fixed(example: Example, quantity: "Quantity") -> str | None:
    """Say why a quantity of a case's example cannot be varied; None where it can."""
    case, name, is_binary = example.case, quantity.name, example.is_binary
    needs_class = name in {"gap", "label-rank"} and not is_binary
    reasons = {
        "needs an example that is not ignored": case and case.batch.is_ignored(example.row),
        "needs a valid label": case and case.batch.is_invalid(example.row),
        "is for the plain example: leave out CASE": name == "classes",
        "is for rows of logits, and this case is binary": is_binary and name not in {"gap", "scale", "logit"},
        "needs a label of 0 or 1": is_binary and name == "gap" and example.label not in {0, 1},
        "needs a label of one class": needs_class and example.label_class is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
