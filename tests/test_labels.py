"""Class indices as exact integers: which are ignored, which are invalid, at any size that 64 bits hold."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Xent, first
from test_load import case, read, refusal

from xentcli import load, new
from xentcli.judge import Result
from xentcli.load.sources import Source
from xentcli.methods.table import select
from xentcli.run import evaluate

ROW_METHODS = tuple(method for method in select("all") if not (method.binary or method.parts or method.needs))
# Beyond a million on both sides; the ends of signed and unsigned 64 bits; most equal a neighbour in float64.
LARGE = (1_000_001, -1_000_001, 5_000_000, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63))
every_large_label = pytest.mark.parametrize("label", LARGE)


def result(label: int, ignore_index: int, **keys: str) -> Result:
    text = case(labels=f"[{label}, 1]", ignore_index=str(ignore_index), bad_labels="nan", **keys)
    return evaluate(read(text), ROW_METHODS)


def losses(result: Result) -> dict[str, tuple[bytes, float | None]]:
    return {o.method: (np.array(o.losses).tobytes(), o.loss) for o in result.outcomes}


@every_large_label
@pytest.mark.parametrize(
    "keys",
    first(12, [{}, {"class_weights": "[2, 3]"}, {"class_weights": "[2, 3]", "label_smoothing": "0.1"}]),
)
def test_a_label_is_ignored_whatever_its_size(label: int, keys: dict[str, str]) -> None:
    ignored = result(label, label, **keys)

    assert ignored.case.batch.invalid is None
    assert losses(ignored) == losses(result(-100, -100, **keys))


@every_large_label
def test_a_neighbour_of_a_large_ignored_label_is_invalid(label: int) -> None:
    neighbour = label + 1 if label < 0 else label - 1  # stays within 64 bits
    batch = result(neighbour, label).case.batch

    assert [batch.is_invalid(row) for row in (0, 1)] == [True, False]
    assert not batch.is_ignored(0)


def test_the_mean_divides_by_the_examples_that_are_not_ignored() -> None:
    sparse = next(o for o in result(5_000_000, 5_000_000).outcomes if o.method == "sparse")

    assert sparse.losses[0] == 0
    assert sparse.losses[1] == sparse.loss == pytest.approx(0.31326168751822286, rel=2**-23)  # ln(1 + 1/e)


@every_large_label
def test_a_large_label_is_invalid_unless_the_case_says_what_it_counts_for(label: int) -> None:
    assert f"the label {label} is out of range; 2 classes are 0 to 1" in refusal(case(labels=f"[{label}, 1]"))
    assert (
        evaluate(read(case(labels=f"[{label}, 1]", bad_labels="nan")), select("sparse"))
        .exact.losses[0]
        .is_nan()
    )


@pytest.mark.parametrize(
    ("dtype", "label"),
    [
        ("uint64", 2**64 - 1),
        ("uint64", 2**63),
        ("uint64", 2**53 + 1),
        ("int64", -(2**63)),
        ("int64", 2**63 - 1),
        ("uint8", 255),
    ],
)
def test_labels_of_a_dump_keep_every_digit(xent: Xent, tmp_path: Path, dtype: str, label: int) -> None:
    dump, path = tmp_path / "dump.npz", tmp_path / "mine.yaml"
    np.savez(dump, logits=np.array([[1, 2], [3, 4]], np.float32), labels=np.array([label, 1], dtype))

    assert xent("new", "--from", dump, path).code == 0
    text = path.read_text(encoding="utf-8")
    assert f"\nlabels: [{label}, 1]\n" in text
    assert f"\nbad_labels: nan # invalid: {label}\n" in text
    batch = load.load(Source("mine.yaml", "mine", new.from_dump(str(dump)).encode())).batch
    assert [batch.is_invalid(row) for row in (0, 1)] == [True, False]
    ran = xent("run", path)
    assert (ran.code, "Traceback" in ran.err) == (0, False)
    assert re.search(r"exact .*nan", ran.out)


@pytest.mark.parametrize("key", ["ignore_index", "tile"])
def test_an_integer_beyond_64_bits_or_without_end_is_refused(key: str) -> None:
    assert f"{key} is a whole number below 2^64" in refusal(case(**{key: str(2**64)}))
    for text in ("1e99999999999999999999", "9" * 900, "1e-99999999999999999999", "0.5"):
        assert f"{key} is a whole number, not" in refusal(case(**{key: text}))


def test_a_label_without_end_is_refused() -> None:
    for text in ("1e99999999999999999999", "1e-99999999999999999999"):
        assert "is not a class index; write a whole number" in refusal(case(labels=f"[0, {text}]"))
