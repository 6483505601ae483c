"""A convention of one's own: what a file with a table may say, and how each mistake in it is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Xent
from losses import linear, right

from xentcli.errors import XentError
from xentcli.frameworks.conventions import CONVENTIONS, find_convention
from xentcli.frameworks.function import LossFunction
from xentcli.testing import check_loss, checks

FULL = """\
# A loss that takes the labels first, and returns more than the losses.
library = "numpy"
arguments = ["labels", "logits"]
labels = "indices"
probabilities = false
returns = "losses"
result = 0
parameters = {class_weights = "weight", ignore_index = "pad_id"}
[constants]
inplace = false
scale = 1
"""
SHORT = 'library = "numpy"\n'


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def labels_first(labels: Any, logits: Any, pad_id: int = -100, *, inplace: bool, scale: float) -> Any:
    assert inplace is False
    kept = labels != pad_id
    losses = np.where(kept, right.log1p(logits, np.where(kept, labels, 0)), 0).astype(logits.dtype)
    return losses * np.array(scale, logits.dtype), "more"


def test_a_table_becomes_a_convention(tmp_path: Path) -> None:
    name = written(tmp_path, FULL)

    found = find_convention(name, "")

    assert found.name == name
    assert found.signature == "f(labels (N,) int64, logits (N, C)) → losses (N,)"
    assert found.labels_first
    assert (found.library, found.labels, found.reduction, found.result) == ("numpy", "indices", "none", 0)
    assert found.constants == (("inplace", False), ("scale", 1))
    assert found.parameter("ignore_index") == "pad_id"


@pytest.mark.parametrize(("line", "ranks"), [("", 2), ("ranks = 3\n", 3)])
def test_a_table_may_share_the_classes_out(tmp_path: Path, line: str, ranks: int) -> None:
    found = find_convention(written(tmp_path, f'library = "torch"\n{OF_SHARDS}{line}'), "")

    assert found.ranks == ranks
    assert found.signature == (
        f"f(logits (N, C / {ranks}), labels (N,) int64, rank, world, group) → losses (N,)"
    )


def test_what_a_table_leaves_out_is_as_usual(tmp_path: Path) -> None:
    found = find_convention(written(tmp_path, SHORT), "", "mean")

    assert found.signature == "f(logits (N, C), labels (N,) int64) → their mean"
    assert not found.constants


@pytest.mark.parametrize(
    "words", ["hidden, labels, weight", "weight, hidden, labels", "labels, weight, hidden"]
)
def test_factors_have_any_order(tmp_path: Path, words: str) -> None:
    order = words.split(", ")
    called = find_convention(written(tmp_path, f"{SHORT}arguments = {order}\n".replace("'", '"')), "")

    def loss(*factors: Any) -> Any:
        return linear.in_float32(**dict(zip(order, factors, strict=True)))

    assert called.linear
    response = LossFunction.build(loss, None, called).respond(
        {
            "dtype": "float64", "shape": (1, 3), "scores": [0.0, 0.0, 0.0], "labels_shape": (1,),
            "labels_dtype": "int64", "labels": [2], "keywords": {}, "reduction": "none",
        }
    )  # fmt: skip
    assert response["losses"] == pytest.approx([np.log(3)], rel=1e-15)


def test_a_loss_of_ones_own_convention_is_checked(tmp_path: Path, xent: Xent) -> None:
    name = written(tmp_path, FULL)
    assert "ignored-rows" in checks(labels_first, name)

    check_loss(labels_first, name, only=["blog", "ignored-rows", "contract"])
    (tmp_path / "loss.py").write_text(
        "import numpy as np\n\n\n"
        "def loss(labels, logits, pad_id=-100, *, inplace, scale):\n"
        "    e = np.exp(logits - logits.max(axis=1, keepdims=True))\n"
        "    return -np.log((e / e.sum(axis=1, keepdims=True))[np.arange(len(e)), labels]), 'more'\n"
    )
    run = xent("check", str(tmp_path / "loss.py") + ":loss", "--convention", name, "--only", "normal-3x3")

    assert run.code == 0, run.out + run.err
    assert "passed 1 check" in " ".join(run.out.split())


@pytest.mark.parametrize(
    ("returned", "result", "why"),
    [
        ("losses", 0, "returned ndarray; the convention expects the losses at 0 of more than that"),
        ((), 0, "returned tuple, without losses at 0"),
        (("losses",), 1, "returned tuple, without losses at 1"),
        (("losses",), "loss", "returned tuple, without losses at 'loss'"),
        ({"lost": 1}, "loss", "returned dict, without losses at 'loss'"),
    ],
)
def test_a_result_that_is_not_there_is_said(tmp_path: Path, returned: Any, result: Any, why: str) -> None:
    shown = f'"{result}"' if isinstance(result, str) else result
    name = written(tmp_path, f"{SHORT}result = {shown}\n")

    def loss(logits: Any, labels: Any) -> Any:
        losses = right.log1p(logits, labels)
        return losses if returned == "losses" else returned

    with pytest.raises(AssertionError, match="was not judged") as raised:
        check_loss(loss, name, only="blog")
    assert why in str(raised.value)


@pytest.mark.parametrize("wrap", [lambda losses: [losses], lambda losses: {"loss": losses}])
def test_a_result_is_an_item_or_a_name(tmp_path: Path, wrap: Any) -> None:
    name = written(
        tmp_path, f"{SHORT}result = {0 if isinstance(wrap(0), list) else chr(34) + 'loss' + chr(34)}\n"
    )

    check_loss(lambda logits, labels: wrap(right.log1p(logits, labels)), name, only="blog")


def test_a_constant_that_the_loss_has_not_is_refused(tmp_path: Path) -> None:
    name = written(tmp_path, f"{SHORT}constants = {{inplac = true}}\n")

    with pytest.raises(XentError) as raised:
        check_loss(labels_first, name)
    expected = "constants: the loss has no parameter 'inplac'; did you mean 'inplace'?"
    assert str(raised.value) == f"{name}: {expected}"


LIBRARIES = "numpy, torch, jax, tensorflow"
SHARD = "['group', 'labels', 'logits', 'rank', 'world'] in any order"
ARGUMENTS = f"['labels', 'logits'] in any order or ['hidden', 'labels', 'weight'] in any order or {SHARD}"
OF_SHARDS = 'arguments = ["logits", "labels", "rank", "world", "group"]\n'


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "", "library: is missing; expected one of numpy, torch, jax, tensorflow"),
        ('library = "numpy\n', ":1", ""),
        ('library = "numpy"\nlibrary = "torch"\n', ":2", ""),
        ("library = 3\n", ":1", f"library: expected one of {LIBRARIES}, not a number"),
        ('library = "troch"\n', ":1", "library: unknown value 'troch'; did you mean 'torch'?"),
        (f"{SHORT}\nlabel = 1\n", ":3", "label: unknown key; did you mean 'labels'?"),
        (f"{SHORT}[label]\nx = 1\n", ":2", "label: unknown key; did you mean 'labels'?"),
        (f'{SHORT}labels = "soft"\n', ":2", "labels: unknown value 'soft'; known are indices, rows, binary"),
        (f'{SHORT}arguments = "labels"\n', ":2", f"arguments: expected {ARGUMENTS}"),
        (f'{SHORT}arguments = ["logits", 1]\n', ":2", f"arguments: expected {ARGUMENTS}"),
        (f'{SHORT}arguments = ["logits", "logits"]\n', ":2", f"arguments: expected {ARGUMENTS}"),
        (f'{SHORT}arguments = ["labels"]\n', ":2", f"arguments: expected {ARGUMENTS}, not ['labels']"),
        (f"{SHORT}probabilities = 1\n", ":2", "probabilities: expected true or false, not a number"),
        (f'{SHORT}returns = "loss"\n', ":2", "returns: unknown value 'loss'; did you mean 'losses'?"),
        (
            f"{SHORT}result = true\n",
            ":2",
            "result: expected the place or the name of an item, not true or false",
        ),
        (
            f"{SHORT}result = 1979-05-27\n",
            ":2",
            "result: expected the place or the name of an item, not a date or a time",
        ),
        (f"{SHORT}parameters = 1\n", ":2", "parameters: expected a table such as {name = …}, not a number"),
        (
            f'{SHORT}parameters = {{weight = "w"}}\n',
            ":2",
            "parameters: unknown parameter 'weight'; did you mean 'class_weights'?",
        ),
        (
            f'{SHORT}parameters.bias = "a b"\n',
            ":2",
            "parameters: bias: expected the name of a parameter, not a string",
        ),
        (
            f'{SHORT}parameters = {{bias = "w", class_weights = "w"}}\n',
            ":2",
            "parameters: 'w' is there twice",
        ),
        (
            f"{SHORT}constants = {{a = [1]}}\n",
            ":2",
            "constants: a: expected true, false, a number or a string, not an array",
        ),
        (f'{SHORT}constants = {{"a-b" = 1}}\n', ":2", "constants: 'a-b' is no name of a parameter"),
        (
            f'{SHORT}parameters = {{bias = "w"}}\nconstants = {{w = 1}}\n',
            ":3",
            "constants: 'w' is among the parameters too",
        ),
        (
            f'{SHORT}arguments = ["hidden", "weight", "labels"]\nlabels = "rows"\n',
            ":3",
            "labels: a loss of hidden and weight has labels = 'indices', of logits",
        ),
        (
            f'{SHORT}arguments = ["hidden", "weight", "labels"]\nprobabilities = true\n',
            ":3",
            "probabilities: a loss of hidden and weight has labels = 'indices', of logits",
        ),
        (
            'library = "tensorflow"\narguments = ["hidden", "weight", "labels"]\n',
            ":2",
            "arguments: hidden and weight are of the libraries numpy, torch, jax",
        ),
        (f"{SHORT}ranks = 2\n", ":2", f"ranks: only where arguments = {SHARD}"),
        (
            f"{SHORT}{OF_SHARDS}",
            ":2",
            "arguments: shards are of library = 'torch', labels = 'indices', of logits",
        ),
        (f'library = "torch"\n{OF_SHARDS}ranks = 5\n', ":3", "ranks: expected one of 2, 3, 4, not 5"),
        (f'library = "torch"\n{OF_SHARDS}ranks = true\n', ":3", "ranks: expected one of 2, 3, 4, not True"),
        ("x" * 70_000, "", "is longer than 65536 characters; expected a table of a few lines"),
    ],
)
def test_a_table_that_is_none_is_refused(
    tmp_path: Path, text: str, place: str, message: str, xent: Xent
) -> None:
    name = written(tmp_path, text)

    run = xent("check", "nowhere.py:loss", "--convention", name)

    assert run.code == 2
    assert run.out == ""
    assert run.err.startswith(f"{name}{place}: {message}"[: 60 + len(name)]), run.err
    if message:
        assert run.err == f"{name}{place}: {message}\n"


@pytest.mark.parametrize("kind", ["missing", "folder", "bytes"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, kind: str, xent: Xent) -> None:
    path = tmp_path / "mine.toml"
    if kind == "folder":
        path.mkdir()
    if kind == "bytes":
        path.write_bytes(b"\xff\xfe\x00")

    run = xent("check", "nowhere.py:loss", "--convention", path)

    assert run.code == 2
    assert run.err.startswith(f"{path}: ")
    assert run.err.count("\n") == 1


def test_the_checks_of_ones_own_convention_are_listed(tmp_path: Path, xent: Xent) -> None:
    name = written(tmp_path, FULL)

    run = xent("check", "--list", "--convention", name, "--format", "plain")

    assert run.code == 0
    assert "f(labels (N,) int64, logits (N, C)) → losses (N,)" in run.out
    assert "ignored-rows" in run.out
    unknown = xent("check", "--list", "--convention", "nunpy")
    assert (unknown.code, unknown.err) == (2, "unknown convention 'nunpy'; did you mean 'numpy'?\n")


def test_every_convention_has_a_signature_of_its_own() -> None:
    rows = [(called.signature, called.library) for called in CONVENTIONS.values()]

    assert len(set(rows)) == len(rows)
