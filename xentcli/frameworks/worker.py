"""The process in which a framework runs: a line of JSON in, a line of JSON out, until the input ends."""

from importlib import import_module
from typing import Any

import numpy as np

from xentcli.frameworks.given import Answer, Given
from xentcli.process import Fields, said, serve


def answered(fields: Fields) -> Fields:
    """Call the framework; what it raises is the answer."""
    given = Given.of(fields)
    try:
        # Imported at the first question: an import that fails is an answer too.
        module = import_module(f"xentcli.frameworks.{given.method.partition('.')[0]}")
        answer: Answer = module.answer(given)
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is its answer
        return {"raised": said(error)}
    return {
        "dtype": str(answer.losses.dtype),
        "losses": _plain(answer.losses),
        "loss": None if answer.loss is None else float(answer.loss),
        "gradient": None if answer.gradient is None else _plain(answer.gradient),
    }


def _plain(array: Any) -> Any:  # noqa: ANN401 - an array as lists
    return np.asarray(array).astype(np.float64).tolist()


if __name__ == "__main__":
    serve(answered)
