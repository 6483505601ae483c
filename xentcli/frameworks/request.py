"""A batch as a request for its losses: plain values that travel between processes as JSON."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xentcli import formats
from xentcli.frameworks.conventions import Convention, keywords

if TYPE_CHECKING:
    from xentcli.formats import FloatArray
    from xentcli.model import Batch
    from xentcli.process import Fields

WORKER: Final = "xentcli.frameworks.worker"  # the module that handles requests, in a process of its own
TRIAL: "Fields" = {  # ordinary logits and labels of classes: how does a function want to be called?
    "dtype": "float32",
    "shape": (2, 3),
    "scores": [0.5, -1.25, 2.0, 1.5, 0.25, -0.75],
    "labels_shape": (2,),
    "labels_dtype": "int64",
    "labels": [0, 2],
    "keywords": {},
    "reduction": "none",
}


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """The factors of logits: ``hidden`` (N, H), ``weight`` (C, H) and ``bias`` (C,), float64."""

    hidden: "FloatArray"
    weight: "FloatArray"
    bias: "FloatArray"

    @property
    def logits(self) -> "FloatArray":
        """The product (N, C), which is exact where its terms are integers times a power of two."""
        return self.hidden @ self.weight.T + self.bias

    @property
    def packed(self) -> "FloatArray":
        """All factors as one array (N + C, H + 1), so that they have one gradient: bias beside weight."""
        rows = np.concatenate([self.hidden, self.weight])
        column = np.concatenate([np.zeros(len(self.hidden)), self.bias])
        return np.concatenate([rows, column[:, None]], axis=1)


@dataclass(frozen=True, slots=True)
class How:
    """How a loss is called, where that is not once, with new arrays of plain rows.

    ``layout`` says how they lie in memory (a key of the adapter's LAYOUTS), all or the one that ``laid_out``
    names, and ``label_dtype`` which integers the labels are. ``others`` are more batches for it, and ``when``
    it gets them: ``before`` the batch; ``refused``, before, though it may raise; ``after`` it, and only then
    are its results read; ``in place``, in the same arrays, before; ``same memory``, in new arrays there; or
    none, and the rows of the batch go to several ``threads`` at once.
    ``keyword`` is one more parameter, with its number. ``product`` has the factors of the logits, for a loss
    that expects these, and ``products`` those of ``others``. ``with_gradient``: it is asked for, where there
    is one.

    ``upstream`` (N,) comes back to each loss. ``backward`` is how it is differentiated: ``twice``, the second
    result counting; ``interleaved``, the loss of ``others`` in between; ``overwritten``, the logits being
    those of ``others`` by then, and ``relabelled``, the labels; ``summed``, with the labels of ``others``
    for the same logits, both upstream gradients 2; or a key of UPSTREAM_LAYOUTS, how what comes back lies in
    memory.
    ``mode``, where there is any, is ``training``, its losses those of a call that is to be differentiated,
    or ``evaluation`` or ``inference``, where nothing is. ``frozen`` names a factor that no gradient is asked
    for.
    """

    layout: str = ""
    laid_out: str = ""
    label_dtype: str = "int64"
    others: "tuple[Batch, ...]" = ()
    when: str = ""
    keyword: tuple[str, float] | None = None
    upstream: tuple[float, ...] = ()
    backward: str = ""
    mode: str = ""
    product: Product | None = None
    products: tuple[Product, ...] = ()
    with_gradient: bool = True
    frozen: str = ""


PLAIN: Final = How()
LAYOUTS: Final = {  # those that each library's arrays may have
    "numpy": ("strided", "padded", "reversed", "Fortran", "offset", "swapped", "read-only", "expanded"),
    "torch": ("strided", "padded", "Fortran", "offset", "expanded"),
}
FROZEN: Final = ("torch",)  # those that a factor needs no gradient in
UPSTREAM_LAYOUTS: Final = {"torch": ("strided", "expanded")}  # those in which a library hands gradients on


def request(batch: "Batch", dtype: str, reduction: str, convention: Convention, how: How = PLAIN) -> "Fields":
    """Return the request for the losses of a batch, which the convention supports, and for the loss.

    Numbers are those of ``dtype``.
    """
    fields = _plain(batch, dtype, reduction, convention)
    if fields["labels_dtype"] == "int64" or how.label_dtype != PLAIN.label_dtype:
        fields["labels_dtype"] = how.label_dtype
    if how.keyword is not None:
        fields["keywords"] |= [how.keyword]
    if how == PLAIN:
        return fields
    others = [_plain(other, dtype, reduction, convention) for other in how.others]
    if how.product is not None:
        fields |= _packed(how.product)
        others = [other | _packed(each) for other, each in zip(others, how.products, strict=True)]
    return {
        **fields,
        "layout": how.layout,
        "laid_out": how.laid_out,
        "others": [{**other, "labels_dtype": fields["labels_dtype"]} for other in others],
        "when": how.when,
        "upstream": list(how.upstream),
        "backward": how.backward,
        "mode": how.mode,
        "with_gradient": how.with_gradient,
        "frozen": how.frozen,
    }


def _packed(product: Product) -> "Fields":
    packed = product.packed
    return {"scores": packed.ravel().tolist(), "shape": packed.shape, "is_packed": True}


def _plain(batch: "Batch", dtype: str, reduction: str, convention: Convention) -> "Fields":
    x = scores(batch, dtype, convention)
    indices = convention.labels == "indices"
    labels = batch.class_labels if indices else batch.labels.astype(np.float64)
    assert labels is not None  # noqa: S101 - Convention.why_unsupported says so
    if batch.binary:
        x, labels = x[:, 0], labels[:, 0]
    return {
        "dtype": dtype,
        "shape": x.shape,
        "scores": x.astype(np.float64).ravel().tolist(),
        "labels_shape": labels.shape,
        "labels_dtype": "int64" if indices else dtype,
        "labels": labels.ravel().tolist(),
        "keywords": keywords(batch),
        "reduction": reduction,
    }


def address(target: str, gradient: str | None, called: Convention) -> "Fields":
    """Return what names a loss in a request."""
    return {
        "target": target,
        "gradient": gradient,
        "convention": called.name,
        "returns": called.reduction,
        "device": called.device,
    }


def arrays(fields: "Fields") -> "tuple[Any, Any]":
    """Return the scores in float64, and the labels in their integers where they are indices, else float64."""
    x = np.array(fields["scores"], np.float64).reshape(fields["shape"])
    kind = fields["labels_dtype"] if "int" in fields["labels_dtype"] else np.float64
    y = np.array(fields["labels"], kind).reshape(fields["labels_shape"])
    if "rows" not in fields:
        return x, y
    places = np.arange(fields["rows"]) % len(x)
    return x[places], y[places]


def in_full(fields: "Fields") -> "Fields":
    """Return a request whose rows are all there, not some that are to be repeated."""
    if "rows" not in fields:
        return fields
    x, y = arrays(fields)
    whole = {key: value for key, value in fields.items() if key != "rows"}
    whole |= {"shape": x.shape, "scores": x.ravel().tolist()}
    return whole | {"labels_shape": y.shape, "labels": y.ravel().tolist()}


def scores(batch: "Batch", dtype: str, convention: Convention) -> "FloatArray":
    """Return logits (N, C), or probabilities: the case's, else a softmax in float64, rounded to the dtype."""
    if not convention.probabilities:
        return batch.logits
    if batch.probabilities is not None:
        return batch.probabilities
    with np.errstate(all="ignore"):
        x = batch.logits.astype(np.float64)
        e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
        return formats.stored(e / e.sum(axis=1, keepdims=True), dtype)
