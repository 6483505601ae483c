"""What the processes of a group respond, with no library: numbers that name the rank, or as they are told."""

import time
from typing import Any


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Respond as the request says that this rank does."""
    rank = request["rank"]
    does = request["does"][rank]
    if does == "waits":
        time.sleep(60)  # longer than any test waits: it is ended from outside
    if does == "raises":
        return {"raised": f"IndexError: on rank {rank}", "printed": "", "wrote": []}
    if does == "describes":
        return {"parameters": [], "meeting": request["meeting"]}
    losses = [100 * rank + row for row in range(request["rows"])]
    slope = [1.0 if column == rank else 0.0 for _ in losses for column in range(len(request["does"]))]
    response = {"losses": losses, "shape": (len(losses),), "dtype": does, "gradient": slope}
    return {**response, "printed": "x" * rank, "wrote": ["labels"] * rank}
