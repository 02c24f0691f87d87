"""A terminal's text as SVG: displayed by browsers, and diffed by git."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

COLUMNS = 104
SIZE, LINE, MARGIN = 13, 18, 16
ADVANCE = 0.602
"""Width of a character of common monospaced fonts, in parts of their size."""
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PROMPT, GOOD, BAD, PLAIN = "#7fd1c7", "#9fd48a", "#f0907f", "#d7dee0"


def picture(title: str, lines: Sequence[str]) -> str:
    """Return the SVG of a terminal with these lines; those that are too long go on below, indented.

    Args:
        title: what the picture shows, for those who cannot see it.
        lines: text as printed. `$ ` begins a command; ✓ and ✗ colour a line.
    """
    shown = [part for line in lines for part in _wrapped(line)]
    width = round(2 * MARGIN + COLUMNS * SIZE * ADVANCE)
    height = 2 * MARGIN + LINE * len(shown)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{FONTS}" font-size="{SIZE}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#16242a"/>',
    ]
    for number, (text, colour) in enumerate(shown, start=1):
        y = MARGIN + LINE * number - 5
        parts.append(f'<text x="{MARGIN}" y="{y}" fill="{colour}" xml:space="preserve">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _wrapped(line: str) -> list[tuple[str, str]]:
    colour = PROMPT if line.startswith("$ ") else BAD if "✗" in line else GOOD if "✓" in line else PLAIN
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    broken = textwrap.wrap(
        line, COLUMNS, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False, replace_whitespace=False
    )
    return [(part, colour) for part in broken or [""]]
