"""What real libraries are known to fail, in results/baselines: brought up to date by ``make baselines``.

``python tests/baselines.py [NAME…]`` runs beside these libraries. A new failure is written without a reason:
give it one.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "results" / "baselines"
BUDGET = 600  # seconds, for a loss in an interpreter on a busy machine; none takes a quarter of it alone


@dataclass(frozen=True)
class Library:
    """A loss of a library: what is imported to see that it is there, and what is passed to ``xent check``."""

    module: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


def _method(name: str) -> Library:
    """Return a loss that ``xent methods`` lists."""
    return Library(name.partition(".")[0], (name,))


LIGER = Library(
    "liger_kernel",
    (
        "liger_kernel.transformers.functional:liger_cross_entropy",
        "--convention=torch",
        "--skip=threads=Triton's interpreter runs one kernel at a time",
    ),
    {"TRITON_INTERPRET": "1"},
)
LIBRARIES = {"liger.cross_entropy": LIGER} | {  # the slowest first: tests run two at a time
    name: _method(name)
    for name in (
        "torch.cross_entropy",
        "torch.cross_entropy_soft",
        "torch.bce_with_logits",
        "optax.integer",
        "optax.dense",
        "optax.safe",
        "keras.categorical_crossentropy",
        "keras.categorical_crossentropy_logits",
        "tensorflow.sparse",
        "tensorflow.dense",
    )
}


def command(name: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that checks a loss against its baseline, and its environment."""
    library = LIBRARIES[name]
    file = str((FOLDER / f"{name}.toml").relative_to(ROOT))
    words = ["check", *library.arguments, "--baseline", file, f"--budget={BUDGET}", *options]
    return [sys.executable, "-m", "xentcli", *words], {**os.environ, **library.environment}


def is_installed(name: str) -> bool:
    """Whether the library of a loss is there."""
    return importlib.util.find_spec(LIBRARIES[name].module) is not None


def main(names: list[str]) -> int:
    """Update the baselines of these losses, or of all that are installed."""
    codes = []
    for name in names or filter(is_installed, LIBRARIES):
        call, environment = command(name, "--baseline-update")
        codes.append(subprocess.run(call, cwd=ROOT, env=environment, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
