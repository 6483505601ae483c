"""The losses of real frameworks as methods: which there are, what they take, which are installed.

Nothing of a framework is imported here; ``bounded.py`` has each run in a process of its own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli.errors import XentError

if TYPE_CHECKING:
    from xentcli.model import Batch

GROUP: Final = "frameworks"


@dataclass(frozen=True, slots=True)
class FrameworkMethod:
    """One function of a framework. ``distributions`` are the names under which pip may have installed it.

    ``labels`` says what it takes: indices, rows or binary. ``weighted`` names what of weights, smoothing and
    ignored rows it has a word for.
    """

    name: str
    distributions: tuple[str, ...]
    call: str
    labels: str
    weighted: frozenset[str] = frozenset()

    @property
    def library(self) -> str:
        """The library, and the file of this folder that calls it."""
        return self.name.partition(".")[0]

    @property
    def extra(self) -> str:
        """The extra that brings the library."""
        return _EXTRAS.get(self.library, self.library)

    @property
    def binary(self) -> bool:
        """Whether it takes one logit an example."""
        return self.labels == "binary"

    @property
    def version(self) -> str | None:
        """The version installed, None where there is none."""
        from importlib import metadata  # as slow to import as a third of the rest

        for distribution in self.distributions:
            try:
                return metadata.version(distribution).partition("+")[0]
            except metadata.PackageNotFoundError:
                continue
        return None

    def unfit(self, batch: "Batch") -> str | None:
        """Say why the function cannot take a batch, where it cannot."""
        if (self.labels == "binary") != batch.binary:
            return (
                "takes one logit an example" if self.labels == "binary" else "takes a logit for every class"
            )
        if self.labels == "indices" and batch.indices is None:
            return "takes one class an example, not soft labels"
        weighting = batch.weighting
        asked = {
            "weights": weighting.class_weights is not None,
            "smoothing": bool(weighting.smoothing),
            "ignored": weighting.ignored is not None,
        }
        lacking = [word for word, wanted in asked.items() if wanted and word not in self.weighted]
        return f"has no word for {_WORDS[lacking[0]]}" if lacking else None


_WORDS = {"weights": "class weights", "smoothing": "label smoothing", "ignored": "ignored examples"}
_EXTRAS = {"keras": "tensorflow", "optax": "jax", "scipy": "sklearn", "onnxruntime": "onnx"}
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")
_ALL = frozenset(_WORDS)

FRAMEWORK_METHODS: Final = (
    FrameworkMethod("tensorflow.dense", _TENSORFLOW, "tf.nn.softmax_cross_entropy_with_logits(y, x)", "rows"),
    FrameworkMethod(
        "tensorflow.sparse", _TENSORFLOW, "tf.nn.sparse_softmax_cross_entropy_with_logits(k, x)", "indices"
    ),
    FrameworkMethod(
        "keras.categorical_crossentropy",
        ("keras",),
        "keras.ops.categorical_crossentropy(y, softmax(x))",
        "rows",
    ),
    FrameworkMethod(
        "keras.categorical_crossentropy_logits",
        ("keras",),
        "keras.ops.categorical_crossentropy(y, x, from_logits=True)",
        "rows",
    ),
    FrameworkMethod("torch.cross_entropy", ("torch",), "F.cross_entropy(x, k)", "indices", _ALL),
    FrameworkMethod(
        "torch.cross_entropy_soft",
        ("torch",),
        "F.cross_entropy(x, y)",
        "rows",
        frozenset({"weights", "smoothing"}),
    ),
    FrameworkMethod(
        "torch.bce_with_logits", ("torch",), "F.binary_cross_entropy_with_logits(x, y)", "binary"
    ),
    FrameworkMethod("optax.dense", ("optax",), "optax.softmax_cross_entropy(x, y)", "rows"),
    FrameworkMethod(
        "optax.integer", ("optax",), "optax.softmax_cross_entropy_with_integer_labels(x, k)", "indices"
    ),
    FrameworkMethod("optax.safe", ("optax",), "optax.safe_softmax_cross_entropy(x, y)", "rows"),
    FrameworkMethod("scipy.log_softmax", ("scipy",), "-scipy.special.log_softmax(x)[k]", "indices"),
    FrameworkMethod(
        "sklearn.log_loss", ("scikit-learn",), "sklearn.metrics.log_loss(k, softmax(x))", "indices"
    ),
    FrameworkMethod(
        "onnxruntime.softmax_cross_entropy",
        ("onnxruntime",),
        "SoftmaxCrossEntropyLoss, opset 13",
        "indices",
        frozenset({"weights", "ignored"}),
    ),
)
EXTRAS: Final = tuple(dict.fromkeys(method.extra for method in FRAMEWORK_METHODS))
LIBRARIES: Final = tuple(dict.fromkeys(method.library for method in FRAMEWORK_METHODS))
NAMES: Final = (*(method.name for method in FRAMEWORK_METHODS), *LIBRARIES, GROUP)


def select(names: str) -> tuple[tuple[FrameworkMethod, ...], str]:
    """Return the framework methods of a list such as ``all,torch``, and what is left of the list.

    The group ``frameworks`` takes what is installed; XentError where nothing is, or where another name asks
    for what is not.
    """
    wanted: set[str] = set()
    rest = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in NAMES:
            rest.append(name)
            continue
        asked = [m for m in FRAMEWORK_METHODS if name in {m.name, m.library, GROUP}]
        missing = [method for method in asked if method.version is None]
        if name == GROUP and len(missing) == len(asked):
            raise XentError(f"no framework is installed; the extras {', '.join(EXTRAS)} bring one")
        if name != GROUP and missing:
            library, extra = missing[0].library, missing[0].extra
            raise XentError(f"method {name}: {library} is not installed; the extra '{extra}' brings it")
        wanted |= {method.name for method in asked if method not in missing}
    return tuple(method for method in FRAMEWORK_METHODS if method.name in wanted), ",".join(rest)


def not_installed() -> tuple[FrameworkMethod, ...]:
    """Return the methods whose library is missing."""
    return tuple(method for method in FRAMEWORK_METHODS if method.version is None)
