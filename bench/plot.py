"""Plots of a few lines over logarithmic axes, as SVG: displayed by browsers, and diffed by git."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 50, 50
LABEL = 16
"""Minimum distance between two line names, in pixels."""
COLOURS = ("#0b6e99", "#c2571a", "#5f6b6d", "#8a3f9c")


@dataclass(frozen=True)
class Line:
    """Line of a plot: its name and its points."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """Return the SVG of lines over logarithmic axes.

    Args:
        title: title above the plot.
        x_label: label of the horizontal axis.
        y_label: label of the vertical axis.
        lines: each with at least one point; all values are positive.
    """
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points]
    low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))
    first, last = math.log10(xs[0]), math.log10(max(xs[-1], xs[0] * 1.01))

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - first) / (last - first)
        above = (math.log10(y) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return LEFT + along * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - above * (HEIGHT - TOP - BOTTOM)

    box, middle = f"0 0 {WIDTH} {HEIGHT}", (TOP + HEIGHT - BOTTOM) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>',
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        _, y = to_pixels(xs[0], 10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for each in xs:
        x, _ = to_pixels(each, low)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{each:g}</text>')
    names = spread_labels([to_pixels(*line.points[-1])[1] for line in lines])
    for line, colour, height in zip(lines, COLOURS, names, strict=False):
        pixels = [to_pixels(*point) for point in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in pixels]
        x, _ = pixels[-1]
        parts.append(f'<text x="{x + 10:.1f}" y="{height + 4:.1f}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def spread_labels(heights: Sequence[float]) -> list[float]:
    """Return the heights in their order, with labels closer than LABEL to the one above moved down."""
    moved: dict[int, float] = {}
    last = -math.inf
    for index in sorted(range(len(heights)), key=lambda each: heights[each]):
        last = moved[index] = max(heights[index], last + LABEL)
    return [moved[index] for index in range(len(heights))]
