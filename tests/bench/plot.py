# SPDX-License-Identifier: MIT
"""plot.py BENCH.json OUT.svg: the curves of the benchmark as small multiples, both axes logarithmic.

Medians of each point. The picture brings its colours for light and for dark mode itself. Nothing is
drawn if no curves were measured.
"""

from __future__ import annotations

import json
import math
import sys
from html import escape

# panel: title, label of the x axis
PANELS = {
    "live": ("Time with many live guests", "live guests"),
    "memory": ("Memory of each live guest", "live guests"),
    "callers": ("Rate with many callers", "threads"),
    "host": ("Time from a large host program", "memory of the host, MB"),
    "output": ("Output of a command", "output, KB"),
    "rootfs": ("First guest of a rootfs", "size of the rootfs, MB"),
}
COLUMNS = 3
WIDTH, HEIGHT = 320, 250  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 58, 40  # around its plot

STYLE = """
svg { font: 11px system-ui, sans-serif; background: #ffffff; }
text { fill: #333333; }
.title { font-size: 13px; font-weight: 600; fill: #111111; }
.frame { fill: none; stroke: #999999; }
.grid { stroke: #e4e4e4; }
.curve { fill: none; stroke-width: 1.8; }
.c0 { stroke: #0b6bcb; fill: #0b6bcb; } .c1 { stroke: #c2410c; fill: #c2410c; }
.c2 { stroke: #15803d; fill: #15803d; } .c3 { stroke: #9333ea; fill: #9333ea; }
.curve.c0, .curve.c1, .curve.c2, .curve.c3 { fill: none; }
text.c0, text.c1, text.c2, text.c3 { stroke: none; }
@media (prefers-color-scheme: dark) {
  svg { background: #14171a; }
  text { fill: #c9ced3; }
  .title { fill: #f0f2f4; }
  .frame { stroke: #6b7279; }
  .grid { stroke: #2a2f34; }
  .c0 { stroke: #60a5fa; fill: #60a5fa; } .c1 { stroke: #fb923c; fill: #fb923c; }
  .c2 { stroke: #4ade80; fill: #4ade80; } .c3 { stroke: #c084fc; fill: #c084fc; }
}
"""

Curve = list[tuple[float, float]]


class Axis:
    """A logarithmic scale: values between `low` and `high` to pixels between `start` and `end`."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self.low, self.high = math.log10(min(values)), math.log10(max(values))
        if self.high - self.low < 1:  # an almost flat curve shall look flat
            middle = (self.low + self.high) / 2
            self.low, self.high = middle - 0.5, middle + 0.5
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten; with 2 and 5 of each where these are few."""
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        factors = (1,) if self.high - self.low > 2.5 else (1, 2, 5)
        marks = [factor * 10.0**power for power in powers for factor in factors]
        return [mark for mark in marks if self.low - 1e-9 <= math.log10(mark) <= self.high + 1e-9]


def number(value: float) -> str:
    """1000 as 1k, 1000000 as 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def text(x: float, y: float, content: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(content)}</text>'


def draw_axes(x_axis: Axis, y_axis: Axis, x_label: str) -> list[str]:
    left, right, bottom, top = x_axis.start, x_axis.end, y_axis.start, y_axis.end
    out = []
    for mark in x_axis.ticks():
        x = x_axis.at(mark)
        out.append(f'<path class="grid" d="M{x:.1f} {bottom}V{top}"/>')
        out.append(text(x, bottom + 14, number(mark), 'text-anchor="middle"'))
    for mark in y_axis.ticks():
        y = y_axis.at(mark)
        out.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        out.append(text(left - 5, y + 4, number(mark), 'text-anchor="end"'))
    out.append(f'<path class="frame" d="M{left} {top}V{bottom}H{right}"/>')
    out.append(text((left + right) / 2, bottom + 31, x_label, 'text-anchor="middle"'))
    return out


def draw_curve(curve: Curve, number_of_curve: int, x_axis: Axis, y_axis: Axis) -> list[str]:
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in curve]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    out = [f'<path class="curve c{number_of_curve}" d="M{path}"/>']
    out += [f'<circle class="c{number_of_curve}" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in places]
    return out


def draw_panel(title: str, x_label: str, unit: str, curves: dict[str, Curve]) -> list[str]:
    points = [point for curve in curves.values() for point in curve]
    x_axis = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y_axis = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    out = [text(LEFT, 16, f"{title}, {unit}", 'class="title"')]
    out += draw_axes(x_axis, y_axis, x_label)
    for i, (name, curve) in enumerate(curves.items()):
        column, line = i % 2, i // 2
        out.append(text(LEFT + column * 132, 33 + 15 * line, f"● {name}", f'class="c{i}"'))
        out += draw_curve(sorted(curve), i, x_axis, y_axis)
    return out


def draw(rows: list[dict]) -> str:
    panels: dict[str, dict[str, Curve]] = {}
    units: dict[str, str] = {}
    for row in rows:
        if row["median"] > 0:  # what a logarithm can show
            curves = panels.setdefault(row["panel"], {})
            curves.setdefault(row["name"], []).append((row["x"], row["median"]))
            units[row["panel"]] = row["unit"]
    lines = math.ceil(len(panels) / COLUMNS)
    width, height = WIDTH * COLUMNS, HEIGHT * lines
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<style>{STYLE}</style>",
    ]
    for i, (panel, curves) in enumerate(panels.items()):
        title, x_label = PANELS[panel]
        out.append(f'<g transform="translate({i % COLUMNS * WIDTH} {i // COLUMNS * HEIGHT})">')
        out += draw_panel(title, x_label, units[panel], curves)
        out.append("</g>")
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        rows = [row for row in json.load(file) if "panel" in row]
    if rows:
        with open(target, "w", encoding="utf-8") as file:
            file.write(draw(rows))


if __name__ == "__main__":
    main()
