"""Each limit of a case file: what is just inside is accepted, what is just outside is refused."""

from pathlib import Path

import numpy as np
import pytest
from test_load import case, read, refusal

from xentcli import load, new
from xentcli.errors import Refused, XentError
from xentcli.load import document, sources
from xentcli.load.sources import Source
from xentcli.load.write import case_yaml


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ({"label_smoothing": "1"}, {"label_smoothing": "1.0000000000000002"}, "a number from 0 to 1"),
        ({"label_smoothing": "0"}, {"label_smoothing": "-5e-324"}, "a number from 0 to 1"),
        ({"tile": "1"}, {"tile": "0"}, "tile is a whole number, at least 1"),
        ({"clip": "[0.5, 0.5]"}, {"clip": "[0.5000000000000001, 0.5]"}, "write [0.5, 0.5000000000000001]"),
        ({"clip": "[5e-324, 1]"}, {"clip": "[0, 1]"}, "a finite number above 0"),
        ({"clip": "[1, 1.7e308]"}, {"clip": "[1, inf]"}, "a finite number above 0"),
        ({"class_weights": "[0, 3e38]"}, {"class_weights": "[0, 4e38]"}, "4e38 is too large for float32"),
        ({"class_weights": "[0, 1]"}, {"class_weights": "[-5e-324, 1]"}, "a finite number, not below 0"),
        ({"labels": "[[1, 0], [0, 3e38]]"}, {"labels": "[[1, 0], [0, inf]]"}, "a finite number, not below 0"),
        ({"labels": "[0, 0e400]"}, {"labels": "[0, 0e401]"}, "0e401 is not a class index"),
        ({"ignore_index": str(2**64 - 1)}, {"ignore_index": str(2**64)}, "a whole number below 2^64"),
        ({"ignore_index": str(1 - 2**64)}, {"ignore_index": str(-(2**64))}, "a whole number below 2^64"),
        ({"expect": "{naive: 1e-400}"}, {"expect": "{naive: 1e-401}"}, "no float64 prints as 1e-401"),
        ({"expect": "{naive: 1.7e308}"}, {"expect": "{naive: 1.8e308}"}, "no float64 prints as 1.8e308"),
        (
            {"logits": f"[[0.{'1' * 798}, 0]]", "labels": "[0]"},
            {"logits": f"[[0.{'1' * 799}, 0]]", "labels": "[0]"},
            "a number of 801 characters",
        ),
        (
            {"logits": "[1, 2]", "labels": "[0, 1]"},
            {"logits": "[1, 2]", "labels": "[0, 1.0000000000000002]"},
            "a binary label is a number from 0 to 1",
        ),
    ],
)
def test_a_value_just_inside_is_accepted_and_just_outside_refused(
    inside: dict[str, str], outside: dict[str, str], message: str
) -> None:
    read(case(**inside))
    assert message in refusal(case(**outside))


def test_a_message_quotes_40_characters() -> None:
    assert f"'{'x' * 40}' is not a number" in refusal(case(logits=f"[[{'x' * 40}, 1]]", labels="[0]"))
    assert f"'{'x' * 40}…' is not a number" in refusal(case(logits=f"[[{'x' * 41}, 1]]", labels="[0]"))


def test_as_is_goes_with_binary_labels_of_any_shape() -> None:
    message = refusal(case(logits="[1, 2]", labels="[[0, 1]]", bad_labels="as_is"))

    assert "labels is 1×2, but logits is a list of 2" in message
    assert "bad_labels" not in message


def test_reading_stops_at_a_thousand_problems() -> None:
    for number in (999, 1000, 1500):
        with pytest.raises(Refused) as caught:
            read(case(logits=f"[[{', '.join('x' * number)}]]", labels="[0]"))
        assert len(caught.value.problems) == min(number, 1000)


def test_a_file_may_have_so_many_values_and_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = case()
    last = 23  # of the events of this file, from 0
    monkeypatch.setattr(document, "_MOST_NODES", last)
    read(text)
    monkeypatch.setattr(document, "_MOST_NODES", last - 1)
    assert "more than a million values" in refusal(text)

    (tmp_path / "case.yaml").write_text(text, encoding="utf-8")
    for limit, number in ((len(text), 0), (len(text) - 1, 1)):
        monkeypatch.setattr(sources, "MAX_BYTES", limit)
        assert len(sources.read_all([str(tmp_path / "case.yaml")])[1]) == number


# What is written


def test_eight_equal_numbers_are_written_as_one() -> None:
    seven, eight = (case_yaml("t", np.zeros((1, number), np.float32), np.zeros(1, int)) for number in (7, 8))

    assert "  - [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]\n" in seven
    assert "  - [0.0 x 8]\n" in eight


def test_binary_labels_of_0_and_1_are_valid_and_no_other_integer_is_ignored() -> None:
    logits = np.zeros(2, np.float32)

    assert "bad_labels" not in case_yaml("t", logits, np.array([0, 1]))
    text = case_yaml("t", logits, np.array([-100, 2]))
    assert text.endswith("labels: [-100, 2]\nbad_labels: as_is # invalid: -100, 2\n")
    batch = load.load(Source("case.yaml", "case", text.encode())).batch
    assert batch.labels.tolist() == [[-100], [2]]


def test_source_probabilities_and_clip_are_written_as_keys_of_the_case() -> None:
    rows = np.array([[0.25, 0.75]], np.float64)
    text = case_yaml("a: b", rows, np.array([1]), "s # t", clip=(2e-6, 1.0), probabilities=rows)
    loaded = load.load(Source("case.yaml", "case", text.encode()))

    assert (loaded.title, loaded.about.sources[0].url) == ("a: b", "s # t")
    assert loaded.batch.clip == (2e-6, 1.0)
    assert loaded.batch.probabilities is not None
    assert loaded.batch.probabilities.tolist() == rows.tolist()


def test_a_case_of_a_dump_is_no_larger_than_a_case_may_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    np.savez(tmp_path / "dump.npz", logits=np.arange(6.0).reshape(2, 3), labels=np.zeros(2, int))
    size = len(new.from_dump(str(tmp_path / "dump.npz")))

    monkeypatch.setattr(new, "MAX_BYTES", size)
    assert len(new.from_dump(str(tmp_path / "dump.npz"))) == size
    monkeypatch.setattr(new, "MAX_BYTES", size - 1)
    with pytest.raises(XentError, match="more than a case holds"):
        new.from_dump(str(tmp_path / "dump.npz"))
