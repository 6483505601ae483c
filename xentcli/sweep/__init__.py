"""One quantity varied over a range: what each method makes of it, and where its loss breaks down."""

from xentcli.sweep.breakdowns import Breakdown, Breakdowns
from xentcli.sweep.curve import Curve, sweep
from xentcli.sweep.example import Example, case_example, standard_example
from xentcli.sweep.points import STATES
from xentcli.sweep.quantities import QUANTITIES, Quantity, Range

__all__ = [
    "QUANTITIES",
    "STATES",
    "Breakdown",
    "Breakdowns",
    "Curve",
    "Example",
    "Quantity",
    "Range",
    "case_example",
    "standard_example",
    "sweep",
]
