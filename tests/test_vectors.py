"""xent export: each format holds the same batches and truth, with which plain NumPy tests a loss."""

import json
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from conftest import Xent
from test_docs import blocks
from test_program import PAGE

from xentcli import atlas
from xentcli.check.vectors import Vector, vectors
from xentcli.load import load_all
from xentcli.load.sources import read_all

NAMES = (
    "normal-3x3",
    "tail-collapse-in-float64",
    "weighted-mean",
    "pad-is-eos",
    "bfloat16-steps",
    "labels-sum-to-two",
    "sigmoid-underflows",
    "infinite-logit-of-one",
    "label-out-of-range",
)
Vectors = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def made() -> dict[str, Vector]:
    return {vector.name: vector for vector in vectors(load_all(*read_all(NAMES)))}


def read_json(path: Path) -> Vectors:
    document = json.loads(path.read_text(encoding="utf-8"))
    floats = ("logits", "losses", "gradient", "tolerance")

    def numbers(vector: dict[str, Any]) -> dict[str, Any]:
        read = {key: np.array(list(map(float.fromhex, vector[key]))) for key in floats}
        of_logits = {key: read[key].reshape(vector["shape"]) for key in ("logits", "gradient")}
        labels = vector["labels"]
        if vector["kind"] != "indices":
            labels = np.array(list(map(float.fromhex, labels))).reshape(vector["shape"])
        return {**vector, **read, **of_logits, "labels": np.array(labels)}

    return {vector["name"]: numbers(vector) for vector in document["vectors"]}


def read_npz(path: Path) -> Vectors:
    read: Vectors = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file:
            name, _, inner = key.partition("/")
            read.setdefault(name, {})[inner] = file[key]
    return read


def read_parquet(path: Path) -> Vectors:
    from pyarrow import parquet

    read: Vectors = {}
    for row in parquet.read_table(path).to_pylist():
        vector = read.setdefault(row["name"], {key: [] for key in row})
        for key, value in row.items():
            vector[key].append(value)
    for vector in read.values():
        is_index = vector["kind"][0] == "indices"
        vector["losses"] = np.array(vector.pop("loss"))
        labels = vector["label"] if is_index else np.array(vector["labels"])
        is_binary = vector["kind"][0] == "binary"
        vector["labels"] = np.array(labels).ravel() if is_binary else np.array(labels)
        for key in ("logits", "gradient"):
            vector[key] = np.array(vector[key]).ravel() if is_binary else np.array(vector[key])
        once = (
            "kind",
            "dtype",
            "may_be_refused",
            "mean",
            "sum",
            "class_weights",
            "ignore_index",
            "label_smoothing",
        )
        vector |= {key: vector[key][0] for key in once}
    return read


READERS = {".json": read_json, ".npz": read_npz, ".parquet": read_parquet}


@pytest.fixture
def files(xent: Xent, tmp_path: Path) -> dict[str, Vectors]:
    for suffix in READERS:
        done = xent("export", *NAMES, "-o", tmp_path / f"v{suffix}")
        assert (done.code, done.out) == (0, "")
        assert done.err.startswith(f"wrote {len(NAMES)} vectors with ")
    return {suffix: read(tmp_path / f"v{suffix}") for suffix, read in READERS.items()}


def test_every_format_reads_back_as_what_was_made(files: dict[str, Vectors], made: dict[str, Vector]) -> None:
    for suffix, read in files.items():
        assert read.keys() == made.keys()
        for name, vector in made.items():
            got, is_bits = read[name], suffix == ".npz" and vector.dtype == "bfloat16"
            for key in ("logits", "labels", "losses", "gradient"):
                numbers = np.asarray(got[key])
                if is_bits and key != "labels":
                    assert numbers.dtype == np.uint16
                    numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
                assert np.array_equal(
                    numbers.astype(np.float64), np.asarray(getattr(vector, key), np.float64), equal_nan=True
                ), (suffix, name, key)
            assert np.array_equal(np.asarray(got["allowance"]), vector.allowance)
            assert np.array_equal(np.asarray(got["nan_allowed"]), vector.nan_allowed)
            assert list(map(str, got["exact"])) == [str(loss).lower() for loss in vector.exact]
            assert str(got["kind"]) == vector.kind
            assert str(got["dtype"]) == vector.dtype
            assert bool(got["may_be_refused"]) == vector.may_be_refused


def test_arrays_have_the_dtype_of_their_case(files: dict[str, Vectors]) -> None:
    dtypes = {name: str(vector["logits"].dtype) for name, vector in files[".npz"].items()}

    assert dtypes["normal-3x3"] == "float32"
    assert dtypes["tail-collapse-in-float64"] == "float64"
    assert files[".npz"]["weighted-mean"]["class_weights"].dtype == np.float32


def losses(x: Any, k: Any) -> Any:
    """Return losses (N,) of logits (N, C) in float64."""
    rows, top = np.arange(len(x)), x.argmax(axis=1)
    with np.errstate(all="ignore"):
        others = np.exp(x - x[rows, top][:, None])
        others[rows, top] = 0
        return np.log1p(others.sum(axis=1)) + np.where(k == top, 0, x[rows, top] - x[rows, k])


def is_right(vector: dict[str, Any], y: Any) -> bool:
    with np.errstate(all="ignore"):
        near = abs(y - vector["losses"]) <= np.asarray(vector["tolerance"])
    return bool((near | (y == vector["losses"]) | (np.isnan(y) & vector["nan_allowed"])).all())


@pytest.mark.parametrize("suffix", READERS)
def test_a_right_loss_is_right_by_every_format_and_a_wrong_one_is_not(
    files: dict[str, Vectors], suffix: str
) -> None:
    for name in ("normal-3x3", "tail-collapse-in-float64"):
        vector = files[suffix][name]
        y = losses(vector["logits"].astype(np.float64), vector["labels"])

        assert is_right(vector, y.astype(str(vector["dtype"])).astype(np.float64))
        assert not is_right(vector, y * (1 + 1e-4))


def test_of_twins_the_one_within_the_tolerance_is_right(made: dict[str, Vector]) -> None:
    vector = made["normal-3x3"]
    fields = {name: getattr(vector, name) for name in ("losses", "tolerance", "nan_allowed")}

    # Losses near 1, tolerances of some 1e-7: their sums in float64 are off by 1e-16.
    assert is_right(fields, vector.losses + vector.tolerance * (1 - 1e-6))
    assert not is_right(fields, vector.losses + vector.tolerance * (1 + 1e-6))


def test_a_tolerance_is_the_allowance_in_units_of_the_last_place(made: dict[str, Vector]) -> None:
    vector = made["normal-3x3"]

    # Losses from 0.5 to 1 have ulps of 2^-24, those from 1 to 2 of 2^-23.
    assert (vector.tolerance / vector.allowance).tolist() == [2**-24, 2**-23, 2**-24]
    assert all(4 < allowance < 10 for allowance in vector.allowance)


@pytest.mark.parametrize("name", ["normal-3x3", "tail-collapse-in-float64", "bfloat16-steps"])
def test_the_exact_losses_have_forty_digits_of_mpmath(made: dict[str, Vector], name: str) -> None:
    vector = made[name]
    with mpmath.workdps(80):
        for x, k, exact in zip(vector.logits.tolist(), vector.labels.tolist(), vector.exact, strict=True):
            total = mpmath.fsum(mpmath.exp(mpmath.mpf(value) - x[k]) for value in x)
            assert mpmath.nstr(
                mpmath.log(total), 40, strip_zeros=False, min_fixed=0, max_fixed=0
            ) == mpmath.nstr(mpmath.mpf(str(exact)), 40, strip_zeros=False, min_fixed=0, max_fixed=0)
            assert len(exact.as_tuple().digits) == 40


def test_what_may_be_nan_or_refused_says_so(made: dict[str, Vector]) -> None:
    invalid, infinite = made["label-out-of-range"], made["infinite-logit-of-one"]

    assert invalid.may_be_refused
    assert (np.isnan(invalid.losses) <= invalid.nan_allowed).all()
    assert infinite.nan_allowed.any()
    assert not made["normal-3x3"].may_be_refused


def test_options_are_those_of_the_case(made: dict[str, Vector]) -> None:
    assert made["weighted-mean"].options.keys() == {"class_weights"}
    assert made["pad-is-eos"].options.keys() == {"ignore_index"}
    assert made["normal-3x3"].options == {}
    assert [made[name].kind for name in ("normal-3x3", "labels-sum-to-two", "sigmoid-underflows")] == [
        "indices",
        "rows",
        "binary",
    ]


def test_a_loss_beyond_any_number_of_digits_still_has_one(tmp_path: Path) -> None:
    path = tmp_path / "far.yaml"
    path.write_text("dtype: float64\nlogits: [[0, -1.0e+30]]\nlabels: [0]\n", encoding="utf-8")

    (vector,) = vectors(load_all(*read_all([str(path)])))

    assert vector.losses.tolist() == [0]
    assert float(vector.exact[0]) == 0


def test_every_bundled_case_is_a_vector() -> None:
    from xentcli.load.sources import bundled

    shares: list[float] = []

    made = {vector.name for vector in vectors(show=shares.append)}

    calls = {entry.case.name for entry in atlas.entries() if entry.case.batch.is_one_call}
    calls -= {entry.case.name for entry in atlas.entries() if not entry.case.batch.knobs.is_plain}
    assert made == calls - {"smoothing-over-others"}  # which no convention has
    assert len(atlas.entries()) == len(bundled())
    assert shares[-1] == 1


def test_the_same_call_writes_the_same_bytes(xent: Xent, tmp_path: Path) -> None:
    for suffix in READERS:
        paths = [tmp_path / f"{number}{suffix}" for number in range(2)]
        for path in paths:
            assert xent("export", "abnormal", "-o", path, "--quiet").err == ""
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a file: -o vectors.npz, .parquet or .json"),
        (["-o", "v.csv"], "v.csv: ends in none of .npz, .parquet, .json, which are the formats"),
        (["-o", "v"], "v: ends in none of .npz"),
        (["-o", "-"], "-: ends in none of .npz"),
        (["nothing", "-o", "v.npz"], "nothing: no such file, folder or bundled case"),
        (
            ["abnormal", "cases/abnormal.yaml", "-o", "v.npz"],
            "two cases are called 'abnormal'; write them to two files",
        ),
        (["abnormal", "-o", "no/such/v.npz"], "no/such/v.npz: cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_refused(xent: Xent, arguments: list[str], message: str) -> None:
    done = xent("export", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_case_that_is_read_is_not_written_over(xent: Xent, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text('{"logits": [[1, 2]], "labels": [0]}', encoding="utf-8")

    done = xent("export", path, "-o", path)

    assert (done.code, "is one of the files that are read" in done.err) == (2, True)


def test_parquet_without_pyarrow_names_the_extra(
    xent: Xent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)

    done = xent("export", "abnormal", "-o", tmp_path / "v.parquet")

    assert (done.code, done.err) == (2, "a .parquet file needs pyarrow: pip install 'xent[parquet]'\n")
    assert list(tmp_path.iterdir()) == []


def test_the_page_names_everything_that_is_written(files: dict[str, Vectors]) -> None:
    page = PAGE.read_text(encoding="utf-8")

    for name in {key for vector in files[".npz"].values() for key in vector}:
        assert f"`{name}`" in page
    assert len(blocks(PAGE, "python")[-1].splitlines()) <= 20
