"""Sentences on a screen: lines are broken between words only, so that numbers and addresses stay whole."""

import textwrap

_NARROWEST, _WIDEST = 20, 100


def filled(line: str, width: int) -> str:
    """Break a line at the width, what follows the first line two columns further in."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    width = max(_NARROWEST, min(width, _WIDEST))
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def hanging(head: str, text: str, width: int, margin: int) -> str:
    """Put a text after its head and break it at the width, what follows the first line behind a margin."""
    return textwrap.fill(
        text,
        max(_NARROWEST, margin + _NARROWEST // 2, min(width, _WIDEST)),
        initial_indent=head,
        subsequent_indent=" " * margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
