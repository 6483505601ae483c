"""How losses are called: the conventions that ``xent check`` knows, by name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from xentcli.errors import XentError, did_you_mean

# What a loss may have a parameter for, by our names; which it has decides which cases it can be given.
KEYWORDS: Final = ("class_weights", "label_smoothing", "ignore_index", "reduction")


@dataclass(frozen=True, slots=True)
class Convention:
    """The order and kind of a loss's arguments, and what it returns.

    ``library`` makes the arrays; ``labels`` are indices, rows or binary (one logit and label an example);
    ``labels_first`` puts them before the scores, which are logits or, with ``probabilities``, the softmax.
    ``reduction`` is that of a loss that has no parameter for it. ``keywords`` are the parameters' names where
    they are not ours, and ``classes`` that of one for the list of classes. ``flushes``: the library has no
    subnormal numbers.
    """

    name: str
    library: str
    labels: str
    labels_first: bool = False
    probabilities: bool = False
    reduction: str = "none"
    keywords: tuple[tuple[str, str], ...] = ()
    classes: str | None = None
    flushes: bool = False

    @property
    def call(self) -> str:
        """The call, as a signature."""
        scores = "probabilities" if self.probabilities else "logits"
        of_scores = f"{scores} (N,)" if self.labels == "binary" else f"{scores} (N, C)"
        of_labels = {"indices": "labels (N,) int64", "rows": "labels (N, C)", "binary": "labels (N,)"}
        pair = (of_scores, of_labels[self.labels])
        arguments = ", ".join(reversed(pair) if self.labels_first else pair)
        return f"f({arguments}) → {'losses (N,)' if self.reduction == 'none' else f'their {self.reduction}'}"

    def held_to(self, reduction: str) -> str:
        """Return the reduction that a loss is asked for: its own, or the one wished where it can choose."""
        return reduction if self.reduction == "none" else self.reduction

    def parameter(self, keyword: str) -> str:
        """Return the name of the parameter for one of KEYWORDS."""
        return dict(self.keywords).get(keyword, keyword)


_TORCH: Final = (("class_weights", "weight"),)

CONVENTIONS: Final = {
    convention.name: convention
    for convention in (
        Convention("numpy", "numpy", "indices"),
        Convention("numpy.rows", "numpy", "rows"),
        Convention("numpy.binary", "numpy", "binary"),
        Convention("torch", "torch", "indices", keywords=_TORCH),
        Convention("torch.rows", "torch", "rows", keywords=_TORCH),
        Convention("torch.binary", "torch", "binary"),
        Convention("optax", "jax", "indices"),
        Convention("optax.rows", "jax", "rows"),
        Convention("optax.binary", "jax", "binary"),
        Convention("tensorflow", "tensorflow", "rows", labels_first=True),
        Convention("tensorflow.indices", "tensorflow", "indices", labels_first=True),
        Convention("tensorflow.binary", "tensorflow", "binary", labels_first=True),
        Convention("keras", "tensorflow", "rows", labels_first=True, probabilities=True),
        Convention(
            "sklearn",
            "numpy",
            "indices",
            labels_first=True,
            probabilities=True,
            reduction="mean",
            classes="labels",
        ),
    )
}
_DISTRIBUTIONS: Final = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "sklearn": ("scikit-learn",)}
_HOMES: Final = {"jax": "optax"}


def told(convention: Convention, keywords: Sequence[str], *, flushes: bool) -> Convention:
    """Return the convention of a loss with these parameters: with ``reduction`` it returns losses too."""
    reduction = "none" if "reduction" in keywords else convention.reduction
    return replace(convention, reduction=reduction, flushes=flushes)


def convention(name: str | None, target: str, reduction: str | None = None) -> Convention:
    """Return the convention of a name; without one that of the library the target is in, else numpy's.

    ``reduction`` is that of the loss where it is not the convention's.

    Raises XentError for an unknown name.
    """
    if name is None:
        home = target.partition(":")[0].partition(".")[0]
        name = home if home in CONVENTIONS else _HOMES.get(home, "numpy")
    if name not in CONVENTIONS:
        raise XentError(f"unknown convention '{name}'{did_you_mean(name, list(CONVENTIONS))}")
    chosen = CONVENTIONS[name]
    return chosen if reduction is None else replace(chosen, reduction=reduction)


def versions(target: str, convention: Convention) -> str:
    """Return the versions of the target's library and the convention's: ``optax 0.2.8, jax 0.10.2``."""
    from importlib import metadata

    found: dict[str, str] = {}
    where = target.partition(":")[0]
    of_target = "" if where.endswith(".py") else where.partition(".")[0]
    for library in dict.fromkeys((of_target, convention.library)):
        for distribution in _DISTRIBUTIONS.get(library, (library,)):
            try:
                found.setdefault(library, metadata.version(distribution).partition("+")[0])
            except (metadata.PackageNotFoundError, ValueError):
                continue
    found.pop("numpy", None)
    return ", ".join(f"{library} {version}" for library, version in found.items())
