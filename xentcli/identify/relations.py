"""What may lie between a loss and the true one: a factor, a sign, a summand."""

import math
from dataclasses import replace
from typing import Final

from xentcli.identify.constants import BITS, GITHUB, Constant

BASES: Final = (
    BITS,
    Constant(
        1 / math.log(10),
        "1/ln(10): one nat, to base 10",
        "the loss is logged to base 10",
        "Multiply by ln(10) to compare with other logs.",
        "log10 in place of log",
        "by definition: log10(e)",
    ),
    Constant(
        math.log(2),
        "ln(2): one bit, in nats",
        "the loss is logged to base e, and the true one to base 2",
        "Divide by ln(2) to compare.",
        "logs of different programs",
        f"{GITHUB}facebookresearch/fairseq/issues/1553",
    ),
)


def related(typed: str, true: str, definition: str, *, is_larger: bool) -> Constant:
    """Return what a whole factor between a loss and the true one may be."""
    if is_larger:
        cause = "losses were added up and not averaged: over examples, ranks, chunks or accumulated steps"
        thread = "huggingface/transformers/pull/45994"
    else:
        cause = "a mean was divided once more by a number of ranks, chunks or accumulated steps"
        thread = "ByteDance-Seed/VeOmni/pull/338"
    remedy = "Add up sums and counts separately, and divide once, by the number of labels not ignored."
    return Constant(
        float(typed), definition, cause, remedy, f"training where {true} is the true loss", GITHUB + thread
    )


def same(typed: str, true: str) -> Constant:
    """Return that two losses are the same to their digits."""
    return Constant(
        float(typed),
        f"{true}",
        "the two losses are the same, to the digits given",
        "Give more digits if they differ.",
        "nothing to explain",
        "by definition",
    )


def flipped(typed: str, true: str) -> Constant:
    """Return that a loss is minus the true one."""
    return Constant(
        float(typed),
        f"-{true}",
        "the sign is flipped: the loss is maximised",
        "Negate the loss.",
        f"training where {true} is the true loss",
        "by definition: L = -log p",
    )


def diluted(typed: str, true: str, share: float) -> Constant:
    """Return what a share of ignored labels in the divisor of a mean does."""
    return Constant(
        float(typed),
        f"{1 - share:.2g} × {true}",
        f"{share:.0%} of the labels are ignored, or padding, but counted in the mean",
        "Divide the sum by the number of labels not ignored.",
        f"training where {true} is the true loss",
        f"{GITHUB}huggingface/transformers/pull/34191",
    )


def in_other_base(base: Constant, true: str) -> Constant:
    """Return what a change of base between a loss and the true one is."""
    return replace(base, definition=f"{true} × {base.definition}")


def summand(typed: str, true: str, number: int) -> Constant:
    """Return what ln of a whole number between a loss and the true one may be."""
    return Constant(
        float(typed),
        f"{true} + ln({number})",
        f"the sum in the log has every class {number} times: the same logits were gathered {number} times",
        "Gather each class once, or subtract the log of how often it was gathered.",
        f"training where {true} is the true loss",
        f"{GITHUB}NVIDIA/Megatron-LM/issues/7452",
    )
