"""One reader under random bytes that are kept where they reach new code.

python tests/coverage_guided.py READER [SECONDS], in an environment with atheris: 'make coverage' makes one.
READER is case, npy, npz or safetensors. It starts from the bundled cases, or from small dumps;
what it learns stays in ``.fuzz/READER``, and an input that ends in anything but a refusal is kept beside it.
"""

import sys
import tempfile
import warnings
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED

import atheris

with atheris.instrument_imports(include=["xentcli", "yaml", "zipfile", "numpy.lib"]):
    from xentcli import load
    from xentcli.diagnose import dumps
    from xentcli.errors import XentError
    from xentcli.load.sources import Source

import fuzz
import fuzz_cases
import fuzz_dumps
import numpy as np

LONGEST = 4096  # bytes of an input


def read_case(data: bytes) -> None:
    """Load a case, or have it refused."""
    try:
        load.load(Source("-", "-", data))
    except XentError:
        return


def read_dump(path: Path, data: bytes) -> None:
    """Open a dump and read all of it, or have it refused."""
    path.write_bytes(data)
    try:
        (shard,) = dumps.shards([str(path)], [])
        shard.logits[0 : len(shard.logits)]
        if shard.labels is not None:
            shard.labels[0 : len(shard.labels)]
    except XentError:
        return


def seeds(reader: str) -> list[bytes]:
    """Return valid files to start from."""
    if reader == "case":
        return [data for data in fuzz_cases.CORPUS if len(data) <= LONGEST]
    x, k = np.array([[0, 1, 2], [3, 4, np.inf]], np.float32), np.array([0, 1])
    some = {"logits": x, "labels": k}, {"a": x.astype(np.float16)}, {"logits": x.T.astype(">f8"), "y": k}
    if reader == "npy":
        versions = ((1, 0), (2, 0), (3, 0))
        return [fuzz_dumps.npy(x, version) for each in some for x in each.values() for version in versions]
    if reader == "safetensors":
        return [fuzz_dumps.tensors(each) for each in some]
    members = [{name: fuzz_dumps.npy(x) for name, x in each.items()} for each in some]
    return [fuzz_dumps.npz(each, method) for each in members for method in (ZIP_STORED, ZIP_DEFLATED)]


def main() -> None:
    """Run one reader for so many seconds."""
    reader, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300
    corpus = fuzz.KEPT / reader
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(reader)):
        (corpus / f"seed-{number}").write_bytes(data)
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"dump.{reader}")
        options = {
            "max_total_time": seconds,
            "max_len": LONGEST,
            "timeout": fuzz.MOST_SECONDS,
            "rss_limit_mb": fuzz.MOST_BYTES // 2**20,
            "artifact_prefix": f"{fuzz.KEPT}/{reader}-",
            "seed": 1,
            "len_control": 0,
            "print_final_stats": 1,
        }
        words = [f"-{name}={value}" for name, value in options.items()]
        atheris.Setup(
            [sys.argv[0], *words, str(corpus)],
            read_case if reader == "case" else lambda data: read_dump(path, data),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
