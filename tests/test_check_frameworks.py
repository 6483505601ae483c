"""xent check on the losses of real frameworks: what it has to find in each, and what passes.

Marked ``frameworks``: .ci/run installs them into an environment of their own and runs these there.
"""

from pathlib import Path

import numpy as np
import pytest
from conftest import Xent
from losses import right

from xentcli.check.probes import Probe
from xentcli.check.run import Options, check, deadline
from xentcli.check.trial import open_subject
from xentcli.errors import XentError
from xentcli.frameworks import LIBRARIES
from xentcli.frameworks.conventions import CONVENTIONS, find_convention
from xentcli.frameworks.function import LossFunction
from xentcli.frameworks.subject import InSubprocess
from xentcli.frameworks.target import load
from xentcli.process import Process
from xentcli.testing import checks

pytestmark = pytest.mark.frameworks

OPTAX = "optax:softmax_cross_entropy_with_integer_labels"
TORCH = "torch.nn.functional:cross_entropy"
TENSORFLOW = "tensorflow.nn:softmax_cross_entropy_with_logits"
OURS = "tests/losses/torched.py"
JAXED = "tests/losses/jaxed.py"


def findings(target: str, convention: str | None = None, *only: str) -> dict[str, set[str]]:
    """Check in a process of its own; the kinds of findings, by check."""
    called = find_convention(convention, target)
    pytest.importorskip(
        "optax" if called.library == "jax" else called.library,
        reason="is not installed; .ci/run tests with it",
    )
    end = deadline(300)
    subject = InSubprocess(target, None, called, end)
    try:
        report = check(subject, Options(only=only), target, end)
    finally:
        subject.stop()
    assert all(each.reached for each in report.checks)
    return {each.name: {finding.name for finding in each.findings} for each in report.checks}


def test_optax_loses_ln_2_to_an_offset_and_takes_minus_1_for_a_class() -> None:
    names = findings(OPTAX, None, "cancellation", "labels", "translation", "invalid-labels", "contract")

    assert names["common-offset"] == {"collapsed"}
    assert names["negative-label-wraps"] == {"plausible"}
    assert names["translation"] == {"differs"}
    assert names["invalid-labels"] == {"plausible"}
    assert names["untouched"] == names["shape"] == names["dtype"] == names["differentiable"] == set()


@pytest.mark.parametrize(
    ("name", "reduction", "cause"),
    [
        ("ignores_upstream", None, "its backward pass ignores the gradient that comes in"),
        ("mean_of_sum", "mean", "the gradient of the mean is that of the sum"),
        ("detached", None, "it has no gradient: nothing can be learned from it"),
    ],
)
def test_a_wrong_backward_pass_is_named_first(
    xent: Xent, name: str, reduction: str | None, cause: str
) -> None:
    pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    options = [] if reduction is None else ["--reduction", reduction]

    chosen = [word for category in ("blog", "clipping", "contract") for word in ("--only", category)]
    run = xent("check", f"{OURS}:{name}", *options, *chosen)

    first = " ".join(run.out.split("\n\n")[0].split())
    assert "is wrong on ordinary logits too" in first
    assert cause in first


def test_a_gradient_is_not_blamed_for_the_shape_of_the_losses() -> None:
    names = findings(f"{OURS}:column", "torch", "blog", "contract")

    assert names["shape"] == {"shape"}
    assert not [name for found in names.values() for name in found if name.startswith("gradient")]


def test_torch_loses_a_tail_and_its_gradient() -> None:
    names = findings(TORCH)

    assert {"collapsed", "gradient wrong"} <= names["tail-collapse"]
    assert "collapsed" in names["no-collapse"]
    assert names["gradient-sum"] == {"gradient sum"}
    assert names["ignored-rows"] == {"gradient nan"}
    assert "collapsed" in names["search"]
    for name in ("blog", "translation", "invalid-labels", "permutation", "batching", "weights-and-smoothing"):
        assert not names.get(name)


def test_tensorflow_is_nan_on_a_mask_and_wrong_where_labels_do_not_sum_to_1() -> None:
    names = findings(TENSORFLOW, None, "infinities", "labels", "one-hot", "unnormalised-labels")

    assert names["masked-class"] == {"nan"}
    assert names["one-hot"] == {"nan"}
    assert names["labels-sum-to-two"] == {"gradient wrong"}
    assert names["unnormalised-labels"] == {"gradient wrong"}


@pytest.mark.parametrize(
    ("function", "kinds"),
    [("naive", {"nan", "gradient nan"}), ("clipped", {"off", "gradient dead"})],
)
def test_the_formulas_of_the_blog_are_nan_and_dead(function: str, kinds: set[str]) -> None:
    assert findings(f"{OURS}:{function}", "torch", "blog")["abnormal"] == kinds


def test_ten_lines_of_log1p_pass_everything() -> None:
    assert not any(findings(f"{OURS}:log1p", "torch").values())


def test_a_mean_is_differentiated_example_by_example() -> None:
    target, called = f"{OURS}:mean", find_convention("torch", "", "mean")
    pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    end = deadline(300)
    subject = InSubprocess(target, None, called, end)
    report = check(subject, Options(), target, end)
    subject.stop()

    assert report.passed


def test_a_library_without_subnormal_numbers_is_not_asked_for_them() -> None:
    names = findings("tests/losses/jaxed.py:log1p", "optax", "no-collapse", "infinities", "properties")

    assert not any(names.values())


@pytest.mark.parametrize("function", ["log1p", "refuses", "refuses_untraced", "prints", "remembers"])
def test_what_compiling_would_hide_is_called_in_a_process_without(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    stops, stop = [], Process.stop

    def counted(process: Process) -> None:
        stops.append(process)
        stop(process)

    monkeypatch.setattr(Process, "stop", counted)

    names = findings(f"{JAXED}:{function}", "optax", "blog", "invalid-labels", "contract")

    assert {name for name in names if names[name]} == ({"quiet"} if function == "prints" else set())
    assert len(stops) == (1 if function == "log1p" else 2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_compiled_loss_rounds_as_often_as_one_that_is_not(dtype: str) -> None:
    pytest.importorskip("optax", reason="is not installed; .ci/run tests with it")
    loss = LossFunction.build(load(f"{JAXED}:unshifted"), None, find_convention("optax", ""))
    logits = np.array([[-3.7], [5.3], [0.1], [7.9]])  # of one class the loss should be 0

    request = Probe.build(loss.convention, logits, [0] * 4, dtype).request()
    eager, compiled = loss.respond(request), loss.respond({**request, "compiled": True})

    assert compiled["losses"] == eager["losses"] != [0.0] * 4


def test_a_loss_that_returns_no_array_is_not_made_to_return_one() -> None:
    pytest.importorskip("optax", reason="is not installed; .ci/run tests with it")
    with pytest.raises(XentError, match=r"returned float; expected a jax\.Array"):
        open_subject(f"{JAXED}:constant", None, find_convention("optax", ""), deadline(300), is_chosen=True)


@pytest.mark.parametrize("function", ["detached", "by_numpy"])
def test_a_gradient_that_gets_lost_is_reported_as_that(function: str) -> None:
    assert findings(f"{OURS}:{function}", "torch", "blog", "contract") == {
        "abnormal": set(),
        "normal-10class": set(),
        "normal-3x3": set(),
        "shape": set(),
        "dtype": set(),
        "untouched": set(),
        "quiet": set(),
        "differentiable": {"differentiable"},
    }


@pytest.mark.parametrize(
    ("target", "convention", "name", "kinds"),
    [
        (TORCH, "torch.rows", "one-hot", {"nan"}),
        (
            "torch.nn.functional:binary_cross_entropy_with_logits",
            "torch.binary",
            "invalid-labels",
            {"plausible"},
        ),
        (
            "torch.nn.functional:binary_cross_entropy_with_logits",
            "torch.binary",
            "no-collapse",
            {"collapsed", "off"},
        ),
        ("optax:softmax_cross_entropy", "optax.rows", "one-hot", {"nan"}),
        ("optax:safe_softmax_cross_entropy", "optax.rows", "one-hot", set()),
        ("optax:sigmoid_binary_cross_entropy", "optax.binary", "batching", set()),
        ("tensorflow.nn:sparse_softmax_cross_entropy_with_logits", "tensorflow.indices", "one-hot", set()),
        ("tensorflow.nn:sigmoid_cross_entropy_with_logits", "tensorflow.binary", "batching", set()),
        ("keras.losses:categorical_crossentropy", "keras", "keras-cap", {"off"}),
        ("sklearn.metrics:log_loss", "sklearn", "batching", set()),
        ("sklearn.metrics:log_loss", "sklearn", "caffe-floor", {"off"}),
    ],
)
def test_every_convention_calls_what_it_is_made_for(
    target: str, convention: str, name: str, kinds: set[str]
) -> None:
    if target.startswith("sklearn"):
        pytest.importorskip("sklearn", reason="is not installed; .ci/run tests with it")

    assert findings(target, convention, name) == {name: kinds}


def test_every_library_of_the_frameworks_that_makes_arrays_has_a_convention() -> None:
    libraries = {convention.library for convention in CONVENTIONS.values()}

    assert libraries == {"numpy", "torch", "jax", "tensorflow"}
    assert {"torch", "tensorflow", "optax", "keras", "sklearn"} <= {*LIBRARIES}
    assert len(checks(right.log1p)) > 50


def test_the_verdict_on_torch_names_the_lost_tail_and_stands_first(xent: Xent) -> None:
    pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    run = xent("check", TORCH, "--only", "blog", "--only", "cancellation")

    assert run.code == 1
    verdict = " ".join(run.out.partition("\n  convention")[0].split())
    assert verdict == (
        f"{TORCH} is right on ordinary logits, but fails 3 of 10 checks: rounding loses the small tail of "
        "the sum."
    )
    assert "xent explain softmax-collapse --method sparse" in run.out


@pytest.mark.parametrize(
    ("function", "options", "code", "said"),
    [
        ("log1p", [], 0, "called as torch: it imports torch\n"),
        (
            "mean",
            [],
            2,
            f"{OURS}:mean was not judged: called as torch, it returns one number for 2 examples; ",
        ),
        ("mean", ["--reduction", "mean"], 0, "called as torch: it imports torch\n"),
    ],
)
def test_a_loss_of_a_file_that_imports_torch_is_called_as_torch(
    xent: Xent, function: str, options: list[str], code: int, said: str
) -> None:
    pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    run = xent("check", f"{OURS}:{function}", "--only", "blog", *options)

    assert run.code == code
    assert run.err.startswith(said)


def test_a_loss_of_a_file_runs_as_a_method_of_its_library(xent: Xent) -> None:
    pytest.importorskip("torch", reason="is not installed; .ci/run tests with it")
    run = xent("run", "abnormal", "--methods", f"dense,{OURS}:log1p,{OURS}:mean")

    assert run.code == 0
    assert f"dense, {OURS}:log1p and {OURS}:mean are right" in " ".join(run.out.split())


LINEAR = "tests/losses/linear_torched.py"


@pytest.mark.parametrize("name", ["in_float32", "in_its_dtype"])
def test_a_right_loss_of_a_product_passes(name: str) -> None:
    names = findings(f"{LINEAR}:{name}", "linear", "linear", "blog", "gradients", "contract")

    assert {"products", "bias", "sums-over-width", "sums-over-rows"} <= names.keys()
    assert {check for check, kinds in names.items() if kinds} == set()


@pytest.mark.parametrize(
    ("name", "failing"),
    [
        ("summed_over_parts", {"sums-over-rows"}),
        ("halved", {"products"}),
        ("summed_over_width", {"sums-over-width"}),
    ],
)
def test_a_fault_of_a_product_is_found(name: str, failing: set[str]) -> None:
    names = findings(f"{LINEAR}:{name}", "linear", "linear", "blog", "contract")

    assert {check for check, kinds in names.items() if kinds} == failing


def test_a_convention_of_ones_own_has_order_result_and_constants(tmp_path: Path) -> None:
    table = tmp_path / "mine.toml"
    table.write_text(
        'library = "torch"\narguments = ["labels", "weight", "hidden"]\nresult = "losses"\n'
        "constants = {scale = 2}\n"
    )

    names = findings(f"{LINEAR}:labels_first", str(table), "linear", "blog", "contract")

    assert {"bias"} <= names.keys()
    assert {check for check, kinds in names.items() if kinds} == set()
