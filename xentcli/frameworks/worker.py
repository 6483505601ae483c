"""The process in which a framework runs: a line of JSON in, a line of JSON out, until the input ends.

What a framework itself prints goes nowhere; what it raises is the answer.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

import numpy as np

from xentcli.frameworks.given import Answer, Given

_LONGEST = 300  # characters of what was raised


def main() -> None:
    """Answer every line with what the library named on the command line makes of it."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    for line in sys.stdin:
        replies.write(json.dumps(_answered(json.loads(line))) + "\n")
        replies.flush()


def _answered(fields: dict[str, Any]) -> dict[str, Any]:
    given = Given.of(fields)
    try:
        # Imported at the first question: an import that fails is an answer too.
        module = import_module(f"xentcli.frameworks.{given.method.partition('.')[0]}")
        answer: Answer = module.answer(given)
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is its answer
        said = " ".join(str(error).split())
        return {"raised": f"{type(error).__name__}: {said}"[:_LONGEST]}
    return {
        "dtype": str(answer.losses.dtype),
        "losses": _plain(answer.losses),
        "loss": None if answer.loss is None else float(answer.loss),
        "gradient": None if answer.gradient is None else _plain(answer.gradient),
    }


def _plain(array: Any) -> Any:  # noqa: ANN401 - an array as lists
    return np.asarray(array).astype(np.float64).tolist()


if __name__ == "__main__":
    main()
