"""Five shards of a dump, and their report: what tests of large dumps share."""

from pathlib import Path
from typing import Any

import numpy as np

from xentcli.diagnose import survey
from xentcli.diagnose.diagnosis import diagnosis_of
from xentcli.diagnose.dumps import Shard
from xentcli.show.diagnosed import as_json

ROWS, CLASSES = 300, 12


def arrays_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels; of shard 2 some are invalid."""
    random = np.random.default_rng(number)
    x = (random.standard_normal((ROWS, CLASSES)) * 5).astype(np.float32)
    k = random.integers(0, CLASSES, ROWS)
    if number == 2:
        x[7, 3], k[11], k[12] = np.inf, -100, 99
    return x, k


def write_shards(folder: Path) -> None:
    """Write five shards, each as .npz, and as .npy beside its labels."""
    for number in range(5):
        x, k = arrays_of(number)
        np.savez(folder / f"s{number}.npz", logits=x, labels=k)
        np.save(folder / f"x{number}.npy", x)
        np.save(folder / f"k{number}.npy", k)


def report(found: list[Shard], **how: Any) -> str:
    """Return the report of shards, without their folder."""
    text = as_json(diagnosis_of(survey.survey(found, -100, **how)), None)
    return text.replace(found[0].path.rpartition("/")[0], "")
