"""README's picture: the story of the blog as a curve. make pictures writes docs/pictures/curve.svg.

Of float32 losses as two logits move apart: the clip flattens, the naive loss is inf, log-sum-exp goes on; and
where the answer is right it collapses to 0, the naive one to nan, while log1p goes on.
"""

from pathlib import Path

from xentcli.methods.table import select
from xentcli.model import Numerics
from xentcli.show import charts
from xentcli.show.reports.sweep import picture
from xentcli.show.sweep import answer
from xentcli.sweep import QUANTITIES, Curve, Range, standard_example, sweep
from xentcli.sweep.example import DEFAULTS

FILE = Path(__file__).parent / "pictures" / "curve.svg"
METHODS = "naive,clipped,dense,log1p"


def curve() -> Curve:
    """Return the curve that is drawn."""
    example = standard_example(DEFAULTS, Numerics("float32", "numpy"))
    return sweep(example, QUANTITIES["gap"], Range(-120, 120, 241, is_log=False), select(METHODS))


def main() -> None:
    """Write the picture, on a page of its own colour, which both schemes of a reader suit."""
    FILE.parent.mkdir(exist_ok=True)
    drawn = curve()
    FILE.write_text(charts.svg(picture([drawn], beside=True), answer(drawn), on_page=True), encoding="utf-8")


if __name__ == "__main__":
    main()
