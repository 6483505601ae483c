"""Faults of state: what a loss remembers from call to call, or shares with other threads."""

import itertools
import os
import threading
import time
from typing import Any

import numpy as np

from losses.faults import WITHIN, Loss, fault, off, remembering, remembering_twin, twin, wide
from losses.right import Floats, Ints, checked, log1p


@remembering()
def one_workspace() -> Loss:
    """Return the same array each time: the next call overwrites it."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        out = kept.setdefault((len(logits), logits.dtype), np.empty(len(logits), logits.dtype))
        out[:] = log1p(logits, labels)
        return out

    return loss


@remembering()
def remembers_by_identity() -> Loss:
    """Remember the losses of an array by its id, whatever is in it now."""
    kept: dict[Any, tuple[Any, Floats]] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        key = (id(logits), id(labels))
        if key not in kept:
            kept[key] = ((logits, labels), log1p(logits, labels))  # they stay alive, and keep their ids
        return kept[key][1].copy()

    return loss


@remembering()
def remembers_by_the_first_row() -> Loss:
    """Remember losses by shape, labels and first row."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        key = (logits.shape, logits.dtype.name, labels.tobytes(), logits[:1].tobytes())
        if key not in kept:
            kept[key] = log1p(logits, labels)
        return kept[key].copy()

    return loss


@remembering()
def remembers_without_labels() -> Loss:
    """Remember losses by logits alone."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        key = (logits.shape, logits.dtype.name, logits.tobytes())
        if key not in kept:
            kept[key] = log1p(logits, labels)
        return kept[key].copy()

    return loss


@remembering()
def remembers_by_a_checksum() -> Loss:
    """Remember losses by labels and by the sum of the logits."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        key = (logits.shape, logits.dtype.name, labels.tobytes(), float(logits.astype(np.float64).sum()))
        if key not in kept:
            kept[key] = log1p(logits, labels)
        return kept[key].copy()

    return loss


@remembering()
def remembers_labels_by_shape() -> Loss:
    """Make the one-hot labels once for each shape of 32 rows or more."""
    kept: dict[Any, Ints] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        return log1p(logits, kept.setdefault(logits.shape, labels.copy()) if len(labels) > 31 else labels)

    return loss


@remembering()
def remembers_the_largest_logit() -> Loss:
    """Shift by the largest logit of any call so far."""
    largest = [-np.inf]

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        x = logits.astype(np.float64)
        finite = x[np.isfinite(x)]
        largest[0] = max(largest[0], finite.max(initial=-np.inf))
        e = np.exp(x - largest[0]).sum(axis=1)
        return (np.log(e) + (largest[0] - x[np.arange(len(x)), labels])).astype(logits.dtype)

    return loss


@remembering()
def rest_of_a_larger_batch() -> Loss:
    """Keep a workspace as wide as the widest call, and sum what an earlier one left there."""
    kept: dict[int, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        (examples, classes), rows = logits.shape, np.arange(len(logits))
        x = logits.astype(np.float64)
        top = x.argmax(axis=1)
        e = np.exp(x - x[rows, top][:, None])
        e[rows, top] = 0
        space = kept.get(examples)
        if space is None or space.shape[1] < classes:
            space = kept[examples] = np.zeros((examples, classes))
        space[:, :classes] = e
        return (np.log1p(space.sum(axis=1)) + (x[rows, top] - x[rows, labels])).astype(logits.dtype)

    return loss


def from_call(number: int, every: int = 1) -> Any:
    """Return a loss that is off by three times what is allowed from a call on, or in each so many."""
    calls = itertools.count(1)

    def loss(logits: Floats, labels: Ints) -> Floats:
        losses, call = wide(logits, labels), next(calls)
        is_off = call >= number and (call - number) % every == 0
        return (off(losses, logits, labels) if is_off else losses).astype(logits.dtype)

    return loss


def of_the_same(number: int) -> Any:
    """Return a loss that is off by three times what is allowed from a call on with the same logits."""
    calls: dict[Any, int] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        losses, key = wide(logits, labels), (logits.shape, logits.tobytes())
        calls[key] = calls.get(key, 0) + 1
        return (off(losses, logits, labels) if calls[key] >= number else losses).astype(logits.dtype)

    return loss


@remembering()
def off_from_the_ninth_call() -> Loss:
    """Be off by three times what is allowed from the ninth call on."""
    return from_call(9)


@remembering()
def off_each_third_call() -> Loss:
    """Be off by three times what is allowed in each third call."""
    return from_call(3, every=3)


@remembering()
def off_each_seventeenth_call() -> Loss:
    """Be off by three times what is allowed in each seventeenth call."""
    return from_call(5, every=17)


@remembering()
def off_when_asked_again() -> Loss:
    """Be off by three times what is allowed when the same logits come a second time."""
    return of_the_same(2)


@remembering()
def off_when_asked_a_fifth_time() -> Loss:
    """Be off by three times what is allowed when the same logits come a fifth time."""
    return of_the_same(5)


@fault()
def noise(logits: Floats, labels: Ints) -> Floats:
    """Add noise of three times what is allowed, another in each call."""
    random = np.random.default_rng(list(os.urandom(8)))
    losses = wide(logits, labels)
    return off(losses, logits, labels, random.uniform(2, 4)).astype(logits.dtype)


@twin()
def noise_within(logits: Floats, labels: Ints) -> Floats:
    """Add noise of less than what is allowed, another in each call."""
    random = np.random.default_rng(list(os.urandom(8)))
    losses = wide(logits, labels)
    return off(losses, logits, labels, random.uniform(-WITHIN, WITHIN)).astype(logits.dtype)


@fault()
def another_thread_is_off(logits: Floats, labels: Ints) -> Floats:
    """Depend on what only the main thread has: a mode of rounding."""
    losses = wide(logits, labels)
    is_main = threading.current_thread() is threading.main_thread()
    return (losses if is_main else off(losses, logits, labels)).astype(logits.dtype)


@remembering()
def one_workspace_for_all_threads() -> Loss:
    """Compute in an array that all threads share."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        space = kept.setdefault(logits.shape, np.empty(logits.shape))
        space[:] = logits
        time.sleep(2e-4)  # another thread has its turn, as where a device is waited for
        return log1p(space.copy(), labels).astype(logits.dtype)

    return loss


@remembering()
def counter_for_all_threads() -> Loss:
    """Put a call's labels where the next thread's call finds them."""
    kept: list[Ints] = []

    def loss(logits: Floats, labels: Ints) -> Floats:
        checked(labels, logits.shape[1])
        kept.append(labels)
        time.sleep(2e-4)  # as above
        mine = kept.pop()
        return log1p(logits, mine if mine.shape == labels.shape else labels)

    return loss


@remembering_twin()
def one_workspace_for_each_thread() -> Loss:
    """Compute in an array of the thread's own, and return a copy."""
    own = threading.local()

    def loss(logits: Floats, labels: Ints) -> Floats:
        kept = own.__dict__.setdefault("kept", {})
        space = kept.setdefault(logits.shape, np.empty(logits.shape))
        space[:] = logits
        return log1p(space.copy(), labels).astype(logits.dtype)

    return loss


@remembering_twin()
def remembers_by_content() -> Loss:
    """Remember losses by all that they depend on."""
    kept: dict[Any, Floats] = {}

    def loss(logits: Floats, labels: Ints) -> Floats:
        key = (logits.shape, logits.dtype.name, logits.tobytes(), labels.dtype.name, labels.tobytes())
        if key not in kept:
            kept[key] = log1p(logits, labels)
        return kept[key].copy()

    return loss
