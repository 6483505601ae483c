"""The largest errors of a loss, as the file of ``xent check --record`` holds them."""

from typing import TYPE_CHECKING

from xentcli import __version__
from xentcli.check.record import NAME, errors_of
from xentcli.check.report import SUITE
from xentcli.digits import json_ulps
from xentcli.show.json import dump

if TYPE_CHECKING:
    from xentcli.check.report import Report


def render(report: "Report") -> str:
    """Render by the schema ``xent.record/1``: keys are only ever added to it."""
    return dump(
        {
            "schema": NAME,
            "version": __version__,
            "suite": SUITE,
            "target": report.target,
            "convention": report.convention,
            "device": report.device,
            "versions": report.versions,
            "errors": [
                {"check": check, "dtype": dtype, "ulps": json_ulps(error)}
                for (check, dtype), error in errors_of(report).items()
            ],
        }
    )
