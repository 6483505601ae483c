"""The reference of the command line: what sphinx-click writes, examples as code, nothing said twice."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from sphinx.application import Sphinx

_KEPT = "| "  # how sphinx-click begins the lines of a paragraph whose line ends are kept

# The epilog says how a variable is named after its option, so a list of them says nothing more.
# sphinx-click 6.2 registers the second event and emits the first.
_VARIABLES = ("sphinx-click-process-envars", "sphinx-click-process-envvars")


def connect(app: "Sphinx") -> None:
    """Connect to what sphinx-click emits."""
    app.connect("sphinx-click-process-description", _examples)
    app.connect("sphinx-click-process-epilog", _once)
    for event in _VARIABLES:
        if event not in app.events.events:
            app.add_event(event)
        app.connect(event, lambda _, __, lines: lines.clear())


def _examples(_: "Sphinx", __: "click.Context", lines: list[str]) -> None:
    """Make code of the lines under 'Examples:'."""
    start = next((at for at, line in enumerate(lines) if line == f"{_KEPT}Examples:"), None)
    if start is None:
        return
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
    code = [f"   {line.removeprefix(_KEPT).strip()}" for line in lines[start + 1 : end]]
    lines[start:end] = [".. rubric:: Examples", "", ".. code-block:: text", "", *code, ""]


def _once(_: "Sphinx", context: "click.Context", lines: list[str]) -> None:
    """Leave the epilog, which is that of all commands, at the first alone."""
    if context.parent is not None:
        lines.clear()
