"""Frameworks as methods: what they answer, and what becomes of a run when one raises, aborts or hangs.

Tests of real frameworks are marked; .ci/run installs those into an environment of their own.
"""

import json
import math
import os
import tomllib
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Xent, first

from xentcli import load
from xentcli.formats import FORMATS, ulps
from xentcli.frameworks import FRAMEWORK_METHODS, LIBRARIES, FrameworkMethod, Library, runner
from xentcli.frameworks.conventions import CONVENTIONS
from xentcli.frameworks.function import LossFunction
from xentcli.frameworks.request import request
from xentcli.judge import judge
from xentcli.load.sources import Source
from xentcli.model import Case, Outcome

inf, nan = math.inf, math.nan
every_method = pytest.mark.parametrize("method", FRAMEWORK_METHODS, ids=lambda method: method.name)


def case(logits: str, labels: str, **keys: str) -> Case:
    more = "".join(f"{key}: {value}\n" for key, value in keys.items())
    text = f"title: t\nlogits: {logits}\nlabels: {labels}\n{more}"
    return load.load(Source("case.yaml", "case", text.encode()))


def named(name: str) -> FrameworkMethod:
    return next(method for method in FRAMEWORK_METHODS if method.name == name)


# Without any framework: a library of our own making stands in for one


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the worker imports as scipy.special; every library counts as installed."""
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9.9")
    return tmp_path / "scipy" / "special.py"


def outcomes_of_scipy(*cases: Case) -> list[Outcome]:
    return [outcomes[0] for outcomes in runner.run(cases, [named("scipy.log_softmax")], seconds=1.5)]


@pytest.mark.parametrize(
    ("code", "raised"),
    first(
        1,
        [
            ("raise ValueError('no\\n  such thing')", "raised ValueError: no such thing"),
            ("import os; os.abort()", "raised the process ended with signal 6"),
            ("import os; os._exit(3)", "raised the process ended with code 3"),
            ("import time; time.sleep(60)", "raised no answer within 1.5 s"),  # it is ended after 1.5 s
            ("print('noise'); raise KeyError('x' * 1000)", "raised KeyError: '" + "x" * 289),
        ],
    ),
)
def test_what_a_framework_does_is_a_result_and_no_crash(stand_in: Path, code: str, raised: str) -> None:
    stand_in.write_text(f"def log_softmax(x, axis):\n    {code}\n", encoding="utf-8")

    (outcome,) = outcomes_of_scipy(case("[[1, 2]]", "[0]"))

    assert (outcome.raised, outcome.version, outcome.losses) == (raised, "9.9", ())
    assert judge(case("[[1, 2]]", "[0]"), (outcome,), ()).judgements == (None,)


def test_a_library_that_cannot_be_imported_is_a_result_too(stand_in: Path) -> None:
    stand_in.write_text("raise OSError('libgfortran.so.5: no such file')", encoding="utf-8")

    (outcome,) = outcomes_of_scipy(case("[[1, 2]]", "[0]"))

    assert outcome.raised == (
        "xentcli.frameworks.scipy:log_softmax: cannot be imported: OSError: libgfortran.so.5: no such file"
    )


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([0.0], "returned list; expected a NumPy array"),
        (None, "returned NoneType; expected a NumPy array"),
        (np.array(["a"]), "returned numbers of dtype <U1"),
    ],
)
def test_what_is_no_array_of_numbers_is_unusable(returned: object, message: str) -> None:
    function = LossFunction.build(lambda *_: returned, None, CONVENTIONS["numpy"])

    response = function.respond(
        request(case("[[1, 2]]", "[0]").batch, "float32", "none", function.convention)
    )

    assert response["unusable"] == message


def test_the_next_case_is_given_to_a_new_process(stand_in: Path) -> None:
    code = "def log_softmax(x, axis):\n    import os\n    if x.shape[1] == 2: os._exit(3)\n    return x\n"
    stand_in.write_text(code, encoding="utf-8")

    first, second = outcomes_of_scipy(case("[[1, 2]]", "[0]"), case("[[1, 2, 3]]", "[0]"))

    assert first.raised == "raised the process ended with code 3"
    assert second.losses == (-1.0,)


def test_what_was_raised_is_shown_with_the_version(xent: Xent, stand_in: Path) -> None:
    stand_in.write_text("def log_softmax(x, axis): raise RuntimeError('of its own')\n", encoding="utf-8")

    run = xent("run", "abnormal", "--methods", "sparse,scipy.log_softmax")
    document = xent("run", "abnormal", "--methods", "scipy.log_softmax", "--format", "json").out

    assert run.code == 0
    assert "no loss of scipy.log_softmax 9.9: raised RuntimeError: of its own" in " ".join(run.out.split())
    assert run.out.startswith("sparse is right; scipy.log_softmax raised RuntimeError. 23 of 23 numbers")
    assert json.loads(document)["cases"][0]["methods"] == [
        {
            "method": "scipy.log_softmax",
            "version": "9.9",
            "loss": None,
            "losses": [],
            "raised": "raised RuntimeError: of its own",
        }
    ]


def test_a_loss_without_a_known_cause_is_said_to_be_what_it_is(xent: Xent, stand_in: Path) -> None:
    stand_in.write_text("def log_softmax(x, axis): return x * float('nan')\n", encoding="utf-8")

    run = xent("run", "abnormal", "--methods", "sparse,scipy.log_softmax")

    assert run.out.startswith("scipy.log_softmax is nan; sparse is right. 23 of 23 numbers reproduced.\n")


def test_no_file_beside_the_cases_is_imported(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.write_text("def log_softmax(x, axis): return x\n", encoding="utf-8")
    folder = tmp_path / "from somebody"
    folder.mkdir()
    for name in ("scipy", "numpy", "json", "xentcli"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n", encoding="utf-8")
    monkeypatch.chdir(folder)

    (outcome,) = outcomes_of_scipy(case("[[1, 2]]", "[0]"))

    assert outcome.losses == (-1.0,)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("labels", "keys", "expected", "index"),
    [
        ("[1]", {}, [1], -100),
        ("[-1]", {"bad_labels": "wrap"}, [-1], -100),  # our methods wrap it; a library does what it does
        ("[-1]", {"bad_labels": "nan"}, [-1], -100),
        ("[3]", {"bad_labels": "nan"}, [3], -100),
        ("[255]", {"ignore_index": "255"}, [255], 255),
        ("[5000000]", {"ignore_index": "5000000"}, [5000000], 5000000),
        ("[1]", {"ignore_index": "1"}, [1], 1),
    ],
)
def test_the_labels_and_the_ignored_index_of_a_case_reach_the_function(
    labels: str, keys: dict[str, str], expected: list[int], index: int
) -> None:
    arguments = []

    def loss(logits: Any, labels: Any, ignore_index: int = 0) -> Any:
        arguments.append((labels.dtype, labels.tolist(), ignore_index))
        return logits[:, 0]

    function = LossFunction.build(loss, None, CONVENTIONS["numpy"])
    function.respond(
        request(case("[[1, 2, 3]]", labels, **keys).batch, "float32", "none", function.convention)
    )

    assert arguments == [(np.int64, expected, index)]


def test_class_weights_arrive_in_the_dtype_of_the_logits_under_the_name_of_the_convention() -> None:
    arguments = []

    def loss(logits: Any, labels: Any, weight: Any = None, label_smoothing: float = 0) -> Any:
        del labels
        arguments.append((weight, label_smoothing))
        return logits[:, 0]

    convention = replace(CONVENTIONS["numpy"], parameters=(("class_weights", "weight"),))
    function = LossFunction.build(loss, None, convention)
    weighted = case("[[1, 2]]", "[0]", class_weights="[0.1, 3]", label_smoothing="0.25", dtype="float16")
    function.respond(request(weighted.batch, "float16", "none", convention))

    ((weight, smoothing),) = arguments
    assert function.parameters == ("class_weights", "label_smoothing")
    assert (weight.dtype, weight.tolist(), smoothing) == (np.float16, [0.0999755859375, 3.0], 0.25)


def test_losses_are_reduced_by_the_function_where_it_can_and_by_the_library_where_it_cannot() -> None:
    def own(logits: Any, labels: Any, reduction: str = "none") -> Any:
        del labels
        return logits[:, 0] if reduction == "none" else np.float32(42)

    def none(logits: Any, labels: Any) -> Any:
        del labels
        return logits[:, 0]

    batch = case("[[1, 0], [2, 0]]", "[0, 0]").batch
    responses = [
        LossFunction.build(loss, None, CONVENTIONS["numpy"]).respond(
            request(batch, "float32", "mean", CONVENTIONS["numpy"])
        )
        for loss in (own, none)
    ]

    assert [response["losses"] for response in responses] == [[1.0, 2.0]] * 2
    assert [response["loss"] for response in responses] == [[42.0], [1.5]]


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=lambda library: library.name)
def test_a_library_has_its_extra_in_pyproject(library: Library) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]

    assert extras[library.extra]
    assert library.extra in extras["frameworks"][0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("torch", "method torch: torch is not installed; the extra 'torch' brings it"),
        ("dense,optax.safe", "method optax.safe: optax is not installed; the extra 'jax' brings it"),
        (
            "frameworks",
            "no framework is installed; the extras tensorflow, torch, jax, sklearn, onnx bring one",
        ),
        ("torhc", "unknown method 'torhc'; did you mean 'torch'?"),
    ],
)
def test_a_framework_that_is_not_there_is_refused(
    xent: Xent, monkeypatch: pytest.MonkeyPatch, names: str, message: str
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)

    done = xent("run", "abnormal", "--methods", names)

    assert (done.code, done.err) == (2, f"{message}\n")


def test_the_group_takes_what_is_installed_and_names_the_rest(
    xent: Xent, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_scipy(name: str) -> str:
        if name != "scipy":
            raise metadata.PackageNotFoundError(name)
        return "9.9+cpu"

    stand_in.write_text("raise RuntimeError", encoding="utf-8")
    monkeypatch.setattr("importlib.metadata.version", only_scipy)

    done = xent("run", "abnormal", "--methods", " frameworks", "--format", "csv")

    methods = {line.split(",")[4] for line in done.out.splitlines()[1:]}
    assert {name for name in methods if "." in name} == {"scipy.log_softmax 9.9"}
    assert done.err.startswith(
        "not installed: tensorflow (extra tensorflow), keras (extra tensorflow), torch (extra torch), optax"
    )


def test_what_a_framework_does_not_support_is_said() -> None:
    weighted = case("[[1, 2]]", "[0]", class_weights="[1, 2]", label_smoothing="0.1", ignore_index="-100")

    assert named("torch.cross_entropy").why_unsupported(weighted.batch) is None
    assert named("optax.integer").why_unsupported(weighted.batch) == "does not support class weights"
    assert (
        named("torch.cross_entropy_soft").why_unsupported(weighted.batch)
        == "does not support ignored examples"
    )
    assert (
        named("onnxruntime.softmax_cross_entropy").why_unsupported(weighted.batch)
        == "does not support label smoothing"
    )
    soft = case("[[1, 2]]", "[[0.5, 0.5]]")
    assert (
        named("tensorflow.sparse").why_unsupported(soft.batch)
        == "expects one class per example, not soft labels"
    )


# With the real ones


MASK = ("[[-inf, 0]]", "[1]")
OFFSET = ("[[1e8, 1e8]]", "[0]")
REPORTED: list[tuple[str, tuple[str, str], float, list[float] | None]] = [
    ("optax.integer", OFFSET, 0.0, [-0.5, 0.5]),
    ("optax.dense", MASK, nan, None),
    ("optax.safe", MASK, 0.0, [0, 0]),
    ("tensorflow.dense", MASK, nan, [0, 0]),
    ("tensorflow.sparse", MASK, 0.0, [0, 0]),
    ("tensorflow.dense", ("[[2, 1, 0]]", "[[1, 1, 0]]"), 1.8152, [-0.3348, -0.7553, 0.0900]),
    ("torch.cross_entropy", ("[[17, 0]]", "[0]"), 0.0, [0, 0]),
    ("torch.cross_entropy_soft", MASK, nan, None),
    ("torch.bce_with_logits", ("[16.7]", "[0]"), 16.7, [1]),
    ("keras.categorical_crossentropy", ("[[0, 30]]", "[0]"), 16.1181, [0, 0]),
    ("keras.categorical_crossentropy_logits", ("[[0, 30]]", "[0]"), 30.0, [-1, 1]),
    ("scipy.log_softmax", ("[[17, 0]]", "[0]"), 0.0, None),
    ("sklearn.log_loss", ("[[0, 1000]]", "[0]"), 15.9424, None),
    ("onnxruntime.softmax_cross_entropy", OFFSET, 0.6931, None),
]
DTYPES = ("float16", "float32", "float64")
WEIGHTED = {"class_weights": "[20, 10]", "ignore_index": "-100"}
CASES = {
    **{f"rows {dtype}": case("[[0.5, 2, 1], [0, -1, 1]]", "[1, 0]", dtype=dtype) for dtype in DTYPES},
    **{f"binary {dtype}": case("[1.5, -0.5]", "[1, 0]", dtype=dtype) for dtype in DTYPES},
    **{str(keys): case(*keys) for _, keys, _, _ in REPORTED},
    "bad": case("[[0.2, 0.1, 0.4, 0.6]]", "[4]", bad_labels="nan"),
    "weighted": case("[[-100, 100], [-100, 100], [0, 1]]", "[0, 1, -100]", **WEIGHTED),
    "smoothed": case("[[-inf, 0, 1]]", "[2]", label_smoothing="0.1"),
}


@lru_cache
def of_library(library: str) -> dict[tuple[str, str], Outcome]:
    """Run all cases of a library at once, for it takes seconds to import."""
    methods = [method for method in FRAMEWORK_METHODS if method.library.name == library]
    several = zip(CASES, runner.run(list(CASES.values()), methods), strict=True)
    return {(outcome.method, name): outcome for name, outcomes in several for outcome in outcomes}


def outcome_of(method: str, name: str) -> Outcome:
    if named(method).library.version is None:
        pytest.skip(f"{named(method).library.name} is not installed; .ci/run tests with it")
    return of_library(named(method).library.name)[method, name]


@pytest.mark.frameworks
@every_method
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_ordinary_batch_has_its_true_loss_and_gradient(method: FrameworkMethod, dtype: str) -> None:
    name = f"binary {dtype}" if method.convention.binary else f"rows {dtype}"
    outcome = outcome_of(method.name, name)

    result = judge(CASES[name], (outcome,), ())

    # A log-sum-exp of 2.5 is subtracted from, which leaves 8 of its ulps in a loss of 0.3; sklearn takes a
    # softmax in the dtype and answers in float64.
    pairs = zip(outcome.losses, result.exact.losses, strict=True)
    errors = [ulps(loss, true, FORMATS[dtype]) for loss, true in pairs]
    assert all(error is not None and error <= 8 for error in errors)
    (judgement,) = result.judgements
    assert outcome.version == method.library.version
    assert judgement is not None
    state = None if judgement.gradient is None else judgement.gradient.state
    assert state == (None if method.library.name in {"scipy", "sklearn", "onnxruntime"} else "alive")


@pytest.mark.frameworks
@pytest.mark.parametrize(("name", "keys", "loss", "gradient"), REPORTED)
def test_what_the_reports_say_of_frameworks_is_seen(
    name: str, keys: tuple[str, str], loss: float, gradient: list[float] | None
) -> None:
    outcome = outcome_of(name, str(keys))

    assert outcome.loss is not None
    assert np.array_equal(round(outcome.loss, 4), loss, equal_nan=True)
    if gradient is not None:
        assert outcome.gradient is not None
        assert np.array_equal(outcome.gradient.ravel().round(4), gradient)


@pytest.mark.frameworks
def test_a_bad_label_is_raised_where_it_is_checked_and_nan_where_not() -> None:
    assert outcome_of("torch.cross_entropy", "bad").raised == "raised IndexError: Target 4 is out of bounds."
    assert "InvalidArgumentError" in str(outcome_of("tensorflow.sparse", "bad").raised)
    assert math.isnan(outcome_of("optax.integer", "bad").losses[0])


@pytest.mark.frameworks
def test_weights_smoothing_and_ignored_examples_reach_torch_and_onnx() -> None:
    assert round(outcome_of("torch.cross_entropy", "weighted").loss or 0, 3) == 133.333
    assert round(outcome_of("onnxruntime.softmax_cross_entropy", "weighted").loss or 0, 3) == 133.333
    assert outcome_of("torch.cross_entropy", "smoothed").loss == inf
