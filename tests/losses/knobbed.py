"""A right loss with every knob, and its gradient, in steps of which a fault replaces one."""

# ruff: noqa: D102, ARG002 - a fault is a step of Knobbed, described there, and need not read all arguments

from typing import Any

import numpy as np

from losses.right import Floats, Ints, checked


def tail(x: Floats) -> tuple[Floats, Floats]:
    """Return the largest logits (N,), and log Σ exp(x - m), in which 1 + a small tail keeps its digits."""
    rows, top = np.arange(len(x)), x.argmax(axis=1)
    e = np.exp(x - x[rows, top][:, None])
    e[rows, top] = 0
    return x[rows, top], np.log1p(e.sum(axis=1))


def size(x: Floats) -> Floats:
    """Return log Σ exp x (N,)."""
    largest, log = tail(x)
    return largest + log


class Knobbed:
    """A loss with knobs; ``gradient`` (N, C), of the losses, takes the same arguments."""

    def capped(self, x: Floats, cap: float) -> Floats:
        """Return ``c · tanh(x / c)``."""
        return np.asarray(cap * np.tanh(x / cap))

    def slope_of_cap(self, x: Floats, cap: float) -> Floats:
        """Return ``1 - tanh²``, by the exponential, which keeps its digits."""
        q = np.exp(-2 * np.abs(x / cap))
        return np.asarray(4 * q / (1 + q) ** 2)

    def cooled(self, x: Floats, temperature: float) -> Floats:
        """Return the logits over the temperature."""
        return x / temperature

    def final(self, x: Floats, scale: float, softcap: float | None, temperature: float) -> Floats:
        """Return the logits that the loss is of."""
        x = x * scale
        return self.cooled(x if softcap is None else self.capped(x, softcap), temperature)

    def penalty(self, x: Floats, final: Floats, z_loss: float) -> Floats:
        """Return what a z-loss adds, of the logits or the final ones, (N,)."""
        return np.asarray(z_loss * size(final) ** 2) if z_loss else np.zeros(len(final))  # not 0 · inf

    def counting(self, labels: Ints, ignore_index: int) -> Any:
        """Return which rows (N,) count for the z-loss."""
        return labels != ignore_index

    def losses_of(self, losses: Floats, temperature: float) -> Floats:
        """Return the losses as they are."""
        return losses

    def reduced(self, losses: Floats, added: Floats, counting: Any, reduction: str) -> Any:
        """Return the mean or sum of losses and what is added to each."""
        total = (losses + added).sum()
        return total / counting.sum() if reduction == "mean" else total

    def __call__(  # noqa: PLR0913, PLR0917 - every knob
        self,
        logits: Floats,
        labels: Ints,
        scale: float = 1.0,
        softcap: float | None = None,
        temperature: float = 1.0,
        z_loss: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "none",
    ) -> Any:
        """Return losses (N,), or their mean or sum."""
        counting, x = labels != ignore_index, logits.astype(np.float64)
        checked(labels[counting], x.shape[1])
        x = np.where(counting[:, None], x, 0.0)
        final = self.final(x, scale, softcap, temperature)
        largest, log = tail(final)
        label = final[np.arange(len(x)), np.where(counting, labels, 0).astype(np.int64)]
        losses = np.where(counting, log + (largest - label), 0.0)
        penalty = np.where(self.counting(labels, ignore_index), self.penalty(x, final, z_loss), 0.0)
        losses = self.losses_of(losses, temperature)
        if reduction == "none":
            return (losses + penalty).astype(logits.dtype)
        return np.asarray(self.reduced(losses, penalty, counting, reduction), logits.dtype)

    def slope_of_penalty(self, final: Floats, z_loss: float) -> Floats:
        """Return what the gradient of the z-loss is times the probabilities, (N, 1)."""
        return np.asarray(2 * z_loss * size(final)[:, None])

    def slope_of_logits(self, scale: float, temperature: float) -> float:
        """Return the factor that scale and temperature are."""
        return scale / temperature

    def gradient(  # noqa: PLR0913, PLR0917 - those of the loss
        self,
        logits: Floats,
        labels: Ints,
        scale: float = 1.0,
        softcap: float | None = None,
        temperature: float = 1.0,
        z_loss: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "none",
    ) -> Floats:
        """Return the gradient (N, C) of each example's loss."""
        counting, x = labels != ignore_index, logits.astype(np.float64)
        x = np.where(counting[:, None], x, 0.0)
        final = Knobbed.final(self, x, scale, softcap, temperature)
        e = np.exp(final - final.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        rows, k = np.arange(len(x)), np.where(counting, labels, 0).astype(np.int64)
        slope = p.copy()
        slope[rows, k] = 0
        slope[rows, k] = -slope.sum(axis=1)
        slope += self.slope_of_penalty(final, z_loss) * p
        slope *= self.slope_of_logits(scale, temperature)
        if softcap is not None:
            slope *= self.slope_of_cap(x * scale, softcap)
        return np.where(counting[:, None], slope, 0.0).astype(logits.dtype)


class BySigmoid(Knobbed):
    """tanh(u) as 2 σ(2u) - 1, and a division as a product with the inverse."""

    def capped(self, x: Floats, cap: float) -> Floats:
        return cap * (2 / (1 + np.exp(-2 * (x / cap))) - 1)

    def cooled(self, x: Floats, temperature: float) -> Floats:
        return x * (1 / temperature)


class InFloat32(Knobbed):
    """All but the loss itself in float32; a cap moved by as many epsilons of it."""

    def __init__(self, moved: float = 0.0) -> None:
        self.moved = moved

    def final(self, x: Floats, scale: float, softcap: float | None, temperature: float) -> Floats:
        narrow = super().final(x.astype(np.float32), scale, softcap, temperature).astype(np.float64)
        sign = np.where(np.arange(x.shape[1]) % 2, 1.0, -1.0)  # the same for all would change no loss
        return narrow if softcap is None else narrow + sign * self.moved * 2.0**-23 * softcap / temperature


RIGHT = {"plain": Knobbed(), "by the sigmoid": BySigmoid()}
_REST = 16  # what a kernel's rows are padded to a multiple of


class SoftcapLeftOut(Knobbed):
    """Logits without their softcap."""

    def capped(self, x: Floats, cap: float) -> Floats:
        return x


class SoftcapTimesLogit(Knobbed):
    """x · tanh(x / c)."""

    def capped(self, x: Floats, cap: float) -> Floats:
        with np.errstate(invalid="ignore"):
            return x * np.tanh(x / cap)


class SoftcapFirst(Knobbed):
    """The cap before the scale."""

    def final(self, x: Floats, scale: float, softcap: float | None, temperature: float) -> Floats:
        return self.cooled((x if softcap is None else self.capped(x, softcap)) * scale, temperature)


class SoftcapLast(Knobbed):
    """The cap after the temperature."""

    def final(self, x: Floats, scale: float, softcap: float | None, temperature: float) -> Floats:
        x = self.cooled(x * scale, temperature)
        return x if softcap is None else self.capped(x, softcap)


class SoftcapOfLanes(Knobbed):
    """Rows filled up with -inf, then capped."""

    def final(self, x: Floats, scale: float, softcap: float | None, temperature: float) -> Floats:
        lanes = np.full((len(x), -x.shape[1] % _REST), -np.inf)
        return super().final(np.hstack([x, lanes]), scale, softcap, temperature)


class TemperatureLate(Knobbed):
    """Losses over the temperature."""

    def cooled(self, x: Floats, temperature: float) -> Floats:
        return x

    def losses_of(self, losses: Floats, temperature: float) -> Floats:
        return losses / temperature


class TemperatureMultiplies(Knobbed):
    """Logits times the temperature."""

    def cooled(self, x: Floats, temperature: float) -> Floats:
        return x * temperature


class ScaleIgnored(Knobbed):
    """No scale."""

    def final(self, x: Floats, scale: float, softcap: float | None, temperature: float) -> Floats:
        return super().final(x, 1.0, softcap, temperature)


class ZLossLeftOut(Knobbed):
    """No z-loss."""

    def penalty(self, x: Floats, final: Floats, z_loss: float) -> Floats:
        return np.zeros(len(x))


class ZLossWithoutTheSquare(Knobbed):
    """z |log Σ exp x|."""

    def penalty(self, x: Floats, final: Floats, z_loss: float) -> Floats:
        return np.asarray(z_loss * np.abs(size(final)))


class ZLossOfLogits(Knobbed):
    """A z-loss of what is not scaled, capped, cooled."""

    def penalty(self, x: Floats, final: Floats, z_loss: float) -> Floats:
        return super().penalty(x, x, z_loss)


class ZLossOfIgnored(Knobbed):
    """A z-loss of ignored rows too."""

    def counting(self, labels: Ints, ignore_index: int) -> Any:
        return np.ones(len(labels), bool)


class ZLossOfMean(Knobbed):
    """The square of the mean."""

    def reduced(self, losses: Floats, added: Floats, counting: Any, reduction: str) -> Any:
        if reduction == "sum":
            return super().reduced(losses, added, counting, reduction)
        return losses.sum() / counting.sum() + (np.sqrt(added).sum() / counting.sum()) ** 2


class CapHasNoSlope(Knobbed):
    """A gradient that passes the cap as if it were not there."""

    def slope_of_cap(self, x: Floats, cap: float) -> Floats:
        return np.ones_like(x)


class TemperatureHasNoSlope(Knobbed):
    """A gradient that is not over the temperature."""

    def slope_of_logits(self, scale: float, temperature: float) -> float:
        return scale


class ZLossIsHalved(Knobbed):
    """A gradient with z for 2 z."""

    def slope_of_penalty(self, final: Floats, z_loss: float) -> Floats:
        return super().slope_of_penalty(final, z_loss) / 2


class ZLossOfZeroIsADefault:
    """A z-loss of 0 that is taken for one that is not given, and that for 2^-10."""

    def __call__(self, logits: Floats, labels: Ints, z_loss: float | None = None) -> Any:
        return Knobbed()(logits, labels, z_loss=0.0 if z_loss is None else z_loss or 2.0**-10)


def counted(
    logits: Floats, labels: Ints, ignore_index: int = -100, num_items_in_batch: int | None = None
) -> Any:
    """Return the mean, or the sum over the count of the whole batch."""
    losses = Knobbed()(logits, labels, ignore_index=ignore_index).astype(np.float64)
    count = (labels != ignore_index).sum() if num_items_in_batch is None else num_items_in_batch
    with np.errstate(invalid="ignore"):
        return np.asarray(losses.sum() / count, logits.dtype)


def counted_twice(
    logits: Floats, labels: Ints, ignore_index: int = -100, num_items_in_batch: int | None = None
) -> Any:
    """Return the mean, over the count of the whole batch too where that is given."""
    mean = counted(logits, labels, ignore_index)
    return mean if num_items_in_batch is None else mean / mean.dtype.type(num_items_in_batch)


def count_ignored(
    logits: Floats, labels: Ints, ignore_index: int = -100, num_items_in_batch: int | None = None
) -> Any:
    """Return the mean, whatever the count is said to be."""
    del num_items_in_batch
    return counted(logits, labels, ignore_index)
