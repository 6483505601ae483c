"""Sentences on a screen: lines are broken between words only, so that numbers and addresses stay whole."""

import textwrap

_NARROWEST, _WIDEST = 20, 100


def filled(line: str, width: int) -> str:
    """Break a line at the width, what follows the first line two columns further in."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return "\n".join(broken(line, width, indent))


def broken(line: str, width: int, indent: str = "") -> list[str]:
    """Break a line at the width, what follows the first line with an indent."""
    return textwrap.wrap(
        line,
        max(_NARROWEST, min(width, _WIDEST)),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
