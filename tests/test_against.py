"""diagnose --against: what turns one dump of logits into another, each change just seen and just not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from numpy.typing import NDArray

from xentcli.diagnose.against import compare_dumps
from xentcli.diagnose.dumps import Layout, shards

Rows = NDArray[np.float64]
RANDOM = np.random.default_rng(3)
LOGITS = (RANDOM.normal(size=(40, 30)) * 6).astype(np.float32)
OFFSETS = RANDOM.normal(size=(40, 1))


def log_softmax(x: Rows) -> Rows:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def five_largest(x: Rows) -> Rows:
    return np.where(x >= np.sort(x, axis=1)[:, -5:-4], x, -np.inf)


CHANGES: dict[str, tuple[Callable[[Rows], Rows], str, float | None]] = {
    "same": (lambda x: x, "same", None),
    "softmax": (lambda x: np.exp(log_softmax(x)), "softmax", None),
    "log-softmax": (log_softmax, "log-softmax", None),
    "offset": (lambda x: x + 7.25, "offset", 7.25),
    "offset per row": (lambda x: x + OFFSETS, "offset", float(np.median(OFFSETS))),
    "temperature": (lambda x: x / 0.6, "temperature", 0.6),
    "temperature above 1": (lambda x: x / 4, "temperature", 4.0),
    "temperature, normalised": (lambda x: log_softmax(x / 0.6), "temperature", 0.6),
    "temperature and offset": (lambda x: x / 0.6 + OFFSETS, "temperature", 0.6),
    "late temperature": (lambda x: log_softmax(x) / 0.6, "temperature-late", 0.6),
    "softcap": (lambda x: 30 * np.tanh(x / 30), "softcap", 30.0),
    "small softcap": (lambda x: 2.5 * np.tanh(x / 2.5), "softcap", 2.5),
    "top-k": (five_largest, "top-k", 5.0),
    "top-k, renormalised": (lambda x: log_softmax(five_largest(x)), "top-k", 5.0),
    "shift": (lambda x: np.vstack([x[1:], x[:1]]), "shift", None),
    "shift back": (lambda x: np.vstack([x[-1:], x[:-1]]), "shift", None),
}


def compared(folder: Path, one: NDArray[Any], other: NDArray[Any]) -> Any:
    np.save(folder / "a.npy", one)
    np.save(folder / "b.npy", other)
    return compare_dumps(*(shards([str(folder / name)], (), Layout()) for name in ("a.npy", "b.npy")))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named_with_its_number(tmp_path: Path, name: str, dtype: Any) -> None:
    change, expected, value = CHANGES[name]
    logits = LOGITS.astype(dtype)
    found = compared(tmp_path, logits, change(logits.astype(np.float64)).astype(dtype)).change

    assert found is not None
    assert found.name == expected
    if value is not None:
        # logits of float32, and 5 bits for their differences
        assert found.value == pytest.approx(value, rel=2.0**-18)


@pytest.mark.parametrize("name", ["softmax", "log-softmax", "softcap", "top-k", "temperature", "offset"])
def test_it_is_seen_from_the_other_side_too(tmp_path: Path, name: str) -> None:
    change, expected, value = CHANGES[name]
    found = compared(tmp_path, change(LOGITS.astype(np.float64)).astype(np.float32), LOGITS).change

    assert found is not None
    assert found.name == expected
    if name in {"softcap", "top-k"}:
        assert found.value == value
        assert "The first dump holds" in found.sentence


@pytest.mark.parametrize(
    "name", sorted(CHANGES.keys() - {"same", "shift", "shift back", "softmax", "offset per row"})
)
def test_one_logit_that_is_off_is_no_change(tmp_path: Path, name: str) -> None:
    change, _, _ = CHANGES[name]
    other = change(LOGITS.astype(np.float64))
    place = np.unravel_index(np.where(np.isfinite(other), other, -np.inf).argmax(), other.shape)
    other[place] += 1e-3 * np.abs(other[np.isfinite(other)]).max()  # 16 roundings of float32 are 2e-6 of it

    assert compared(tmp_path, LOGITS, other.astype(np.float32)).change is None


def test_rounding_is_named_by_its_format(tmp_path: Path) -> None:
    half = compared(tmp_path, LOGITS, LOGITS.astype(np.float16))
    again = compared(tmp_path, LOGITS.astype(np.float16).astype(np.float32), LOGITS)

    assert half.change.sentence == "The second dump holds the logits of the other, rounded to float16."
    assert again.change.sentence == "The first dump holds the logits of the other, rounded to float16."


def test_what_no_change_explains_is_measured_in_ulps(tmp_path: Path) -> None:
    other = LOGITS.copy()
    other[7, 3] = np.nextafter(other[7, 3], np.float32(np.inf))
    other[9, 4] *= np.float32(1 + 3e-4)
    found = compared(tmp_path, LOGITS, other)

    assert found.change is None
    assert (found.apart.number, found.apart.same) == (1200, 1198)
    assert (found.apart.row, found.apart.place) == (9, 4)
    unit = float(np.spacing(np.abs(other[9, 4])))
    assert found.apart.largest == abs(float(other[9, 4]) - float(LOGITS[9, 4])) / unit
    assert found.apart.median == (found.apart.largest + 1) / 2


def test_the_command_begins_with_the_answer(xent: Xent, tmp_path: Path) -> None:
    compared(tmp_path, LOGITS, (LOGITS.astype(np.float64) / 0.6).astype(np.float32))
    a, b = str(tmp_path / "a.npy"), str(tmp_path / "b.npy")

    run = xent("diagnose", a, "--against", b)
    document = json.loads(xent("diagnose", a, "--against", b, "--format", "json").out)

    assert run.code == 1
    assert run.out.startswith("The second dump is the first over a temperature of 0.6 (× 1.66667).\n  remedy")
    assert (document["schema"], document["change"]["name"]) == ("xent.against/1", "temperature")
    assert xent("diagnose", a, "--against", a).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--observed", "1.5"], "--against compares logits; leave --observed out"),
        (["--format", "html"], "--against has no HTML; take --format table, plain or json"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    xent: Xent, tmp_path: Path, arguments: list[str], message: str
) -> None:
    compared(tmp_path, LOGITS, LOGITS)
    run = xent("diagnose", str(tmp_path / "a.npy"), "--against", str(tmp_path / "b.npy"), *arguments)

    assert (run.code, run.out) == (2, "")
    assert message in run.err


def test_other_shapes_are_refused(xent: Xent, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LOGITS)
    np.save(tmp_path / "b.npy", LOGITS[:, :20])
    run = xent("diagnose", str(tmp_path / "a.npy"), "--against", str(tmp_path / "b.npy"))

    assert (run.code, run.out) == (2, "")
    assert "has 40 rows of 20 classes, and the other dump has 40 rows of 30 classes" in run.err


def test_several_shards_are_one_dump(tmp_path: Path) -> None:
    for name, rows in (
        ("a0", LOGITS[:15]),
        ("a1", LOGITS[15:]),
        ("b0", LOGITS[:33] + 2),
        ("b1", LOGITS[33:] + 2),
    ):
        np.save(tmp_path / f"{name}.npy", rows)
    ours, theirs = (
        shards([str(tmp_path / f"{name}{number}.npy") for number in (0, 1)], (), Layout()) for name in "ab"
    )
    found = compare_dumps(ours, theirs)

    assert found.rows == 40
    assert found.change is not None
    assert (found.change.name, found.change.value) == ("offset", 2.0)
