"""Plots as inline SVG: a few shapes drawn by hand, so that a page needs no library and stays sharp at any size.

Colours come from the page's style sheet by class, so that they follow light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

LABEL, PLOT, ROW = 250, 520, 22


def dots(
    rows: Sequence[tuple[str, Mapping[str, float]]], methods: Sequence[str], unit: str, *, mark: float | None = None
) -> str:
    """One line a case, one dot a method: who is ahead, and by how much, without reading a number.

    rows: (case, method -> value). The first of `methods` is ours: larger, with its value written. mark: a reference line.
    """
    values = [value for _, held in rows for value in held.values()] + ([mark] if mark is not None else [])
    if not values:
        return ""
    low, high = _span(values)
    height = ROW * len(rows) + 46
    parts = [_open(LABEL + PLOT + 70, height)]
    parts += _axis(low, high, height, unit)

    def at(value: float) -> float:
        return LABEL + PLOT * (value - low) / (high - low)

    if mark is not None:
        parts.append(f'<line class="mark" x1="{at(mark):.1f}" x2="{at(mark):.1f}" y1="6" y2="{height - 36}"/>')
    for k, (case, held) in enumerate(rows):
        y = 18 + k * ROW
        rivals = [held[m] for m in methods[1:] if m in held]
        parts.append(f'<text class="case" x="{LABEL - 12}" y="{y + 4}" text-anchor="end">{escape(case)}</text>')
        if methods[0] in held and rivals:
            parts.append(
                f'<line class="link" x1="{at(max(rivals)):.1f}" x2="{at(held[methods[0]]):.1f}" y1="{y}" y2="{y}"/>'
            )
        for number, method in reversed(list(enumerate(methods))):
            if method not in held:
                continue
            x, radius = at(held[method]), 6 if number == 0 else 4
            parts.append(
                f'<circle class="m{number}" cx="{x:.1f}" cy="{y}" r="{radius}">'
                f"<title>{escape(case)} · {escape(method)}: {held[method]:.3g} {escape(unit)}</title></circle>"
            )
        if methods[0] in held:
            parts.append(f'<text class="value" x="{LABEL + PLOT + 12}" y="{y + 4}">{held[methods[0]]:.2f}</text>')
    return "".join([*parts, "</svg>"])


def stacks(rows: Sequence[tuple[str, Mapping[str, float], float]], names: Sequence[str], unit: str) -> str:
    """Stacked bars: (case, part -> value, whole). The whole is a tick: stages overlap, so it may lie inside the bar."""
    if not rows:
        return ""
    high = max(max(sum(held.values()), whole) for _, held, whole in rows) * 1.05
    height = ROW * len(rows) + 46
    parts = [_open(LABEL + PLOT + 70, height), *_axis(0, high, height, unit)]
    for k, (case, held, whole) in enumerate(rows):
        y, x = 8 + k * ROW, float(LABEL)
        parts.append(f'<text class="case" x="{LABEL - 12}" y="{y + 14}" text-anchor="end">{escape(case)}</text>')
        for number, name in enumerate(names):
            wide = PLOT * held.get(name, 0.0) / high
            if wide:
                title = f"<title>{escape(name)}: {held[name]:.1f} {escape(unit)}</title>"
                parts.append(
                    f'<rect class="s{number}" x="{x:.1f}" y="{y}" width="{max(wide - 1, 0.5):.1f}" height="15">{title}</rect>'
                )
            x += wide
        at = LABEL + PLOT * whole / high
        parts.append(f'<line class="whole" x1="{at:.1f}" x2="{at:.1f}" y1="{y - 2}" y2="{y + 17}"/>')
        parts.append(f'<text class="value" x="{LABEL + PLOT + 12}" y="{y + 12}">{whole:.1f}</text>')
    return "".join([*parts, "</svg>"])


def line(points: Sequence[tuple[float, float]], x_unit: str, y_unit: str) -> str:
    """One line from zero up: growth shows as a slope, not as a change of the axis."""
    if len(points) < 2:
        return ""
    points = sorted(points)
    high, far = max(y for _, y in points) * 1.15 or 1.0, max(x for x, _ in points) * 1.03
    width, height = LABEL + PLOT + 70, 220
    parts = [_open(width, height), *_axis(0, far, height, x_unit)]

    def at(x: float, y: float) -> tuple[float, float]:
        return LABEL + PLOT * x / far, 10 + (height - 46) * (1 - y / high)

    for tick in _ticks(0, high):
        y = at(0, tick)[1]
        parts.append(f'<line class="grid" x1="{LABEL}" x2="{LABEL + PLOT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LABEL - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<text class="tick" x="{LABEL - 60}" y="20" text-anchor="end">{escape(y_unit)}</text>')
    radius = 5 if len(points) < 20 else 2
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
    parts.append(f'<polyline class="line" points="{path}"/>')
    for x_value, y_value in points:
        x, y = at(x_value, y_value)
        parts.append(
            f'<circle class="m0" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
            f"<title>{x_value:g} {x_unit}: {y_value:g} {y_unit}</title></circle>"
        )
    return "".join([*parts, "</svg>"])


def legend(names: Sequence[str], prefix: str) -> str:
    """What the colours mean; `prefix` "m" for dots, "s" for stacks."""
    keys = "".join(
        f'<span class="key"><svg width="12" height="12"><circle class="{prefix}{k}" cx="6" cy="6" r="5"/></svg>'
        f"{escape(name)}</span>"
        for k, name in enumerate(names)
    )
    return f'<p class="legend">{keys}</p>'


def _open(width: int, height: int) -> str:
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'


def _axis(low: float, high: float, height: int, unit: str) -> list[str]:
    parts = []
    for tick in _ticks(low, high):
        x = LABEL + PLOT * (tick - low) / (high - low)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - 36}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 20}" text-anchor="middle">{tick:g}</text>')
    parts.append(
        f'<text class="tick" x="{LABEL + PLOT / 2}" y="{height - 4}" text-anchor="middle">{escape(unit)}</text>'
    )
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """About six round numbers from low to high."""
    step = 10.0 ** max(-6, len(str(int(high - low))) - 1) if high - low >= 1 else 0.1
    for factor in (0.1, 0.2, 0.5, 1, 2, 5):
        if (high - low) / (step * factor) <= 8:
            step *= factor
            break
    first = int(low / step) * step
    return [round(first + k * step, 6) for k in range(20) if low - 1e-9 <= first + k * step <= high + 1e-9]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin
