"""The losses of real frameworks as methods: which there are, what they support, which are installed.

Nothing of a framework is imported here: ``runner`` has ``worker`` call each in a process of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli.errors import XentError
from xentcli.frameworks.conventions import CONVENTIONS, Convention

if TYPE_CHECKING:
    from xentcli.model import Batch

GROUP: Final = "frameworks"


@dataclass(frozen=True, slots=True)
class Library:
    """A library, the extra that brings it, and the names under which pip may have installed it."""

    name: str
    extra: str
    distributions: tuple[str, ...]

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


LIBRARIES: Final = {
    library.name: library
    for library in (
        Library("tensorflow", "tensorflow", ("tensorflow", "tensorflow-cpu")),
        Library("keras", "tensorflow", ("keras",)),
        Library("torch", "torch", ("torch",)),
        Library("optax", "jax", ("optax",)),
        Library("scipy", "sklearn", ("scipy",)),
        Library("sklearn", "sklearn", ("scikit-learn",)),
        Library("onnxruntime", "onnx", ("onnxruntime",)),
    )
}


@dataclass(frozen=True, slots=True)
class FrameworkMethod:
    """One function of a framework.

    ``target`` names it as for ``xent check``, and ``convention`` how it is called; ``call`` is shown. Where a
    function needs more than a convention, the target is one of this folder that calls it. ``supports`` names
    what it supports of class weights, smoothing and ignored rows, by the keys of ``request.NAMES``.
    """

    name: str
    target: str
    convention: Convention
    call: str
    supports: tuple[str, ...] = ()

    @property
    def library(self) -> Library:
        """The library that the name begins with."""
        return LIBRARIES[self.name.partition(".")[0]]

    def why_unsupported(self, batch: "Batch") -> str | None:
        """Say why the function does not support a batch; None where it does."""
        return self.convention.why_unsupported(batch, self.supports)


_HERE: Final = "xentcli.frameworks"
FRAMEWORK_METHODS: Final = (
    FrameworkMethod(
        "tensorflow.dense",
        "tensorflow.nn:softmax_cross_entropy_with_logits",
        CONVENTIONS["tensorflow"],
        "tf.nn.softmax_cross_entropy_with_logits(y, x)",
    ),
    FrameworkMethod(
        "tensorflow.sparse",
        "tensorflow.nn:sparse_softmax_cross_entropy_with_logits",
        CONVENTIONS["tensorflow.indices"],
        "tf.nn.sparse_softmax_cross_entropy_with_logits(k, x)",
    ),
    FrameworkMethod(
        "keras.categorical_crossentropy",
        f"{_HERE}.keras:categorical_crossentropy",
        CONVENTIONS["tensorflow"],
        "keras.ops.categorical_crossentropy(y, softmax(x))",
    ),
    FrameworkMethod(
        "keras.categorical_crossentropy_logits",
        f"{_HERE}.keras:categorical_crossentropy_logits",
        CONVENTIONS["tensorflow"],
        "keras.ops.categorical_crossentropy(y, x, from_logits=True)",
    ),
    FrameworkMethod(
        "torch.cross_entropy",
        "torch.nn.functional:cross_entropy",
        CONVENTIONS["torch"],
        "F.cross_entropy(x, k)",
        ("class_weights", "label_smoothing", "ignore_index"),
    ),
    FrameworkMethod(
        "torch.cross_entropy_soft",
        "torch.nn.functional:cross_entropy",
        CONVENTIONS["torch.rows"],
        "F.cross_entropy(x, y)",
        ("class_weights", "label_smoothing"),
    ),
    FrameworkMethod(
        "torch.bce_with_logits",
        "torch.nn.functional:binary_cross_entropy_with_logits",
        CONVENTIONS["torch.binary"],
        "F.binary_cross_entropy_with_logits(x, y)",
    ),
    FrameworkMethod(
        "optax.dense",
        "optax:softmax_cross_entropy",
        CONVENTIONS["optax.rows"],
        "optax.softmax_cross_entropy(x, y)",
    ),
    FrameworkMethod(
        "optax.integer",
        "optax:softmax_cross_entropy_with_integer_labels",
        CONVENTIONS["optax"],
        "optax.softmax_cross_entropy_with_integer_labels(x, k)",
    ),
    FrameworkMethod(
        "optax.safe",
        "optax:safe_softmax_cross_entropy",
        CONVENTIONS["optax.rows"],
        "optax.safe_softmax_cross_entropy(x, y)",
    ),
    FrameworkMethod(
        "scipy.log_softmax",
        f"{_HERE}.scipy:log_softmax",
        CONVENTIONS["numpy"],
        "-scipy.special.log_softmax(x)[k]",
    ),
    FrameworkMethod(
        "sklearn.log_loss",
        f"{_HERE}.sklearn:log_loss",
        CONVENTIONS["numpy"],
        "sklearn.metrics.log_loss(k, softmax(x))",
    ),
    FrameworkMethod(
        "onnxruntime.softmax_cross_entropy",
        f"{_HERE}.onnxruntime:softmax_cross_entropy",
        CONVENTIONS["numpy"],
        "SoftmaxCrossEntropyLoss, opset 13",
        ("class_weights", "ignore_index"),
    ),
)
EXTRAS: Final = tuple(dict.fromkeys(library.extra for library in LIBRARIES.values()))
NAMES: Final = (*(method.name for method in FRAMEWORK_METHODS), *LIBRARIES, GROUP)


def select(names: str) -> tuple[tuple[FrameworkMethod, ...], str]:
    """Return the framework methods of a list such as ``all,torch``, and what is left of the list.

    The group ``frameworks`` takes what is installed. Raises XentError where nothing is, or where another name
    is of a library that is not.
    """
    words = [word for word in (part.strip() for part in names.split(",")) if word]
    chosen = {method.name for word in words if word in NAMES for method in _installed(word)}
    rest = ",".join(word for word in words if word not in NAMES)
    return tuple(method for method in FRAMEWORK_METHODS if method.name in chosen), rest


def _installed(name: str) -> Sequence[FrameworkMethod]:
    if name == GROUP:
        if len(not_installed()) == len(LIBRARIES):
            raise XentError(f"no framework is installed; the extras {', '.join(EXTRAS)} bring one")
        return [method for method in FRAMEWORK_METHODS if method.library.version is not None]
    methods = [method for method in FRAMEWORK_METHODS if name in {method.name, method.library.name}]
    if (library := methods[0].library).version is None:
        raise XentError(
            f"method {name}: {library.name} is not installed; the extra '{library.extra}' brings it"
        )
    return methods


def not_installed() -> tuple[Library, ...]:
    """Return the libraries that are missing."""
    return tuple(library for library in LIBRARIES.values() if library.version is None)


def versions(target: str, convention: Convention) -> str:
    """Return the versions of the target's library and the convention's: ``optax 0.2.8, jax 0.10.2``."""
    where = target.partition(":")[0]
    names = ("" if where.endswith(".py") else where.partition(".")[0], convention.library)
    libraries = [LIBRARIES.get(name, Library(name, "", (name,))) for name in dict.fromkeys(names) if name]
    shown = {library.name: library.version for library in libraries if library.name != "numpy"}
    return ", ".join(f"{name} {version}" for name, version in shown.items() if version)
