"""The losses of real frameworks as methods: which there are, what they support, which are installed.

Nothing of a framework is imported here: ``runner`` has ``worker`` call each in a process of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xentcli.errors import XentError
from xentcli.frameworks.conventions import CONVENTIONS, Convention, find_convention

if TYPE_CHECKING:
    from xentcli.model import Batch

GROUP: Final = "frameworks"


@dataclass(frozen=True, slots=True)
class Library:
    """A library, the extra that brings it, and the names that pip may know it by, if not its own."""

    name: str
    extra: str
    distributions: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """The version installed, None where there is none."""
        from importlib import metadata  # as slow to import as a third of the rest

        for distribution in filter(None, self.distributions or (self.name,)):
            try:
                return metadata.version(distribution).partition("+")[0]
            except metadata.PackageNotFoundError:
                continue
        return None


_ALL: Final = (
    Library("tensorflow", "tensorflow", ("tensorflow", "tensorflow-cpu")),
    Library("keras", "tensorflow"),
    Library("torch", "torch"),
    Library("optax", "jax"),
    Library("scipy", "sklearn"),
    Library("sklearn", "sklearn", ("scikit-learn",)),
    Library("onnxruntime", "onnx"),
)
LIBRARIES: Final = {library.name: library for library in _ALL}


@dataclass(frozen=True, slots=True)
class FrameworkMethod:
    """One function of a framework, or of somebody's file or module: its name is then the target.

    ``target`` names it as for ``xent check``, and ``convention`` how it is called; ``call`` is shown.
    ``supports`` names what it supports of class weights, smoothing and ignored rows, by the keys of
    ``conventions.NAMES``.
    """

    name: str
    target: str
    convention: Convention
    call: str
    supports: tuple[str, ...] = ()

    @property
    def library(self) -> Library:
        """The library that the name begins with; one without a name where that is a file."""
        return LIBRARIES.get(self.name.partition(":")[0].partition(".")[0], Library("", ""))

    @property
    def is_target(self) -> bool:
        """Whether the name is that of a file's or module's function."""
        return self.name == self.target

    def why_unsupported(self, batch: "Batch") -> str | None:
        """Say why the function does not support a batch; None where it does."""
        return self.convention.why_unsupported(batch, self.supports)


_TARGETS: Final = ("class_weights", "label_smoothing")  # what changes the targets
_MODULES: Final = {"tf.nn": "tensorflow.nn", "F": "torch.nn.functional", "optax": "optax"}  # by what is shown


def _theirs(name: str, convention: str, module: str, function: str, *supports: str) -> FrameworkMethod:
    """Make the method of a function that a convention suffices for: x logits, y label rows, k classes."""
    called, target = CONVENTIONS[convention], f"{_MODULES[module]}:{function}"
    label = "k" if called.labels == "indices" else "y"
    arguments = f"({label}, x)" if called.labels_first else f"(x, {label})"
    return FrameworkMethod(name, target, called, f"{module}.{function}{arguments}", supports)


def _own(name: str, convention: str, call: str, *supports: str) -> FrameworkMethod:
    """Make the method of a function that needs more: the one of this folder that the name says calls it."""
    target = f"xentcli.frameworks.{name.replace('.', ':')}"
    return FrameworkMethod(name, target, CONVENTIONS[convention], call, supports)


FRAMEWORK_METHODS: Final = (
    _theirs("tensorflow.dense", "tensorflow", "tf.nn", "softmax_cross_entropy_with_logits"),
    _theirs("tensorflow.sparse", "tensorflow.indices", "tf.nn", "sparse_softmax_cross_entropy_with_logits"),
    _own("keras.categorical_crossentropy", "tensorflow", "keras.ops.categorical_crossentropy(y, softmax(x))"),
    _own(
        "keras.categorical_crossentropy_logits",
        "tensorflow",
        "keras.ops.categorical_crossentropy(y, x, from_logits=True)",
    ),
    _theirs("torch.cross_entropy", "torch", "F", "cross_entropy", *_TARGETS, "ignore_index"),
    _theirs("torch.cross_entropy_soft", "torch.rows", "F", "cross_entropy", *_TARGETS),
    _theirs("torch.bce_with_logits", "torch.binary", "F", "binary_cross_entropy_with_logits"),
    _theirs("optax.dense", "optax.rows", "optax", "softmax_cross_entropy"),
    _theirs("optax.integer", "optax", "optax", "softmax_cross_entropy_with_integer_labels"),
    _theirs("optax.safe", "optax.rows", "optax", "safe_softmax_cross_entropy"),
    _own("scipy.log_softmax", "numpy", "-scipy.special.log_softmax(x)[k]"),
    _own("sklearn.log_loss", "numpy", "sklearn.metrics.log_loss(k, softmax(x))"),
    _own(
        "onnxruntime.softmax_cross_entropy",
        "numpy",
        "SoftmaxCrossEntropyLoss, opset 13",
        "class_weights",
        "ignore_index",
    ),
)
FUNCTIONS: Final = {method.name: method for method in FRAMEWORK_METHODS}
EXTRAS: Final = tuple(dict.fromkeys(library.extra for library in LIBRARIES.values()))
NAMES: Final = (*(method.name for method in FRAMEWORK_METHODS), *LIBRARIES, GROUP)


def select(names: str) -> tuple[tuple[FrameworkMethod, ...], str]:
    """Return the framework methods of a list such as ``all,torch``, and what is left of the list.

    A name with a colon is a target, as for ``xent check``. The group ``frameworks`` takes what is installed.
    Raises XentError where nothing is, and where the library of another name is not.
    """
    words = [word for word in (part.strip() for part in names.split(",")) if word]
    targets = dict.fromkeys(word for word in words if ":" in word)
    chosen = {method.name for word in words if word in NAMES for method in _installed(word)}
    rest = ",".join(word for word in words if word not in NAMES and word not in targets)
    known = [method for method in FRAMEWORK_METHODS if method.name in chosen]
    return (
        *known,
        *(FrameworkMethod(word, word, find_convention(None, word), word) for word in targets),
    ), rest


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
    module = target.partition(":")[0]
    names = dict.fromkeys(("" if module.endswith(".py") else module.partition(".")[0], convention.library))
    libraries = (LIBRARIES.get(name, Library(name, "")) for name in names if name not in {"", "numpy"})
    return ", ".join(f"{library.name} {library.version}" for library in libraries if library.version)
