"""One self-contained HTML page of a run: what is weak first, then plots, pictures, a rating sheet, the machine."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidrase.bench import plots
from vidrase.bench.case import Rgb
from vidrase.bench.live import CURVES
from vidrase.bench.peers import OURS
from vidrase.bench.rating import rating_sheet
from vidrase.bench.ratios import RATIOS
from vidrase.bench.results import Results, Row, Strip, mean_by
from vidrase.bench.speed import growth
from vidrase.bench.table import COLUMNS, HEADINGS, live_lines, weaknesses

TITLES = {
    "quality": "Completion: somebody else's hole in a clip whose truth is known",
    "light": "Light: the same clip with a change of light and without it",
    "removal": "Removal: a file in, a file out, the person gone",
    "stills": "Stills: photographs by share of the picture that is hole",
    "masks": "Masks: is the person found, all of it, steadily",
    "speed": "Speed",
    "memory": "Memory",
    "live": "Live",
}
PLOTTED = {
    "quality": (("psnr", None), ("flicker", 1.0), ("seam", 1.0)),
    "stills": (("psnr", None), ("seam", 1.0), ("texture", 0.0)),
    "light": (("psnr", None), ("loss", 0.0)),
    "removal": (
        ("psnr", None),
        ("leftover", 0.0),
        ("flicker", 1.0),
        ("redetected", 0.0),
        ("shadow_left", 0.0),
        ("false_removal", 0.0),
        ("shadow_recall", 1.0),
        ("false_share", 0.0),
    ),
    "masks": (("recall", 1.0), ("iou", 1.0)),
}
"""suite -> (measure, the value that is perfect)."""


def save_page(results: Results, records: Sequence[dict[str, Any]], path: Path, *, every_picture: bool = False) -> None:
    """Write the page. Pictures of cases that may not be published are left out unless `every_picture`."""
    template = resources.files("vidrase.bench").joinpath("page.html").read_text(encoding="utf-8")
    record = records[0]
    where = record["machine"]
    commit = (
        f"commit {record['commit']}{' + changes' if record['dirty'] else ''}" if record["commit"] else "no checkout"
    )
    device = where["gpu"] or where["cpu"]
    subtitle = f"{record['version']} · {commit} · {record['date']} · {device}, {where['cores']} cores · load {where['load'][:1]}"
    shown = [strip for strip in results.strips if strip.public or every_picture]
    strips = sorted(shown, key=lambda strip: strip.worth)
    body = [_tiles(results.rows), _weak(results), *(_suite(name, results.rows) for name in TITLES)]
    body += [_pictures(strips, results.strips, results.rows), _failures(results), _machine(record)]
    page = template.replace("{{title}}", escape(record["date"])).replace("{{subtitle}}", escape(subtitle))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.replace("{{body}}", "\n".join(part for part in body if part)), encoding="utf-8")


def _tiles(rows: Sequence[Row]) -> str:
    """A handful of numbers that sum the run up, coloured where a line can be drawn."""
    tiles: list[tuple[str, str, str]] = []
    ours = [row for row in rows if row.method == OURS]
    quality = [row for row in ours if row.suite == "quality"]
    if quality:
        for group, value in mean_by(quality, lambda row: row.group, "psnr").items():
            tiles.append((f"{value:.1f} dB", f"hole PSNR, {group}", ""))
        flicker = mean_by(quality, lambda _: "", "flicker").get("", 0.0)
        tiles.append((f"{flicker:.2f}", "flicker (truth = 1)", "bad" if flicker > 1.25 else "good"))
    won = [_best_rival(row, rows) for row in ours if row.suite in ("quality", "stills", "removal")]
    known = [gain for gain in won if gain is not None]
    if known:
        lost = sum(gain < -0.1 for gain in known)
        tiles.append((f"{lost} of {len(known)}", "cases where a peer is better", "bad" if lost else "good"))
    outside = sum(row.numbers.get("changed_outside", 0) for row in ours)
    if quality:
        tiles.append((f"{outside:.0f}", "pixels changed outside", "bad" if outside else "good"))
    for row in ours:
        if row.suite == "speed" and row.case.startswith(("person 480p", "mask 480p")):
            fps = row.numbers["fps"]
            tiles.append((f"{fps:.0f} fps", row.case, "good" if fps >= 30 else "bad"))
    slower = [row.numbers["ratio_to_script"] for row in ours if "ratio_to_script" in row.numbers]
    if slower:
        tone = "bad" if max(slower) > 1 else "good"
        tiles.append((f"{max(slower):.2f} x", "the user's script's time, worst real clip", tone))
    slope = growth(rows)
    if slope is not None:
        tiles.append((f"{slope:+.1f} MiB", "memory per 100 frames", "bad" if slope > 8 else "good"))
    cells = "".join(
        f'<div class="tile {tone}"><b>{escape(value)}</b>{escape(text)}</div>' for value, text, tone in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _weak(results: Results) -> str:
    found = weaknesses(results.rows)
    if not found:
        return '<div class="weak none"><h2>Where it is weak</h2><p>Nothing beyond the limits of this run.</p></div>'
    lines = "".join(f"<li>{escape(line)}</li>" for line in found)
    return f'<div class="weak"><h2>Where it is weak</h2><ol>{lines}</ol></div>'


def _suite(name: str, rows: Sequence[Row]) -> str:
    mine = [row for row in rows if row.suite == name]
    if not mine:
        return ""
    head = f"<h2>{escape(TITLES[name])}</h2>"
    if name == "speed":
        return head + _speed(mine)
    if name == "memory":
        return head + _memory(mine)
    if name == "live":
        return head + _live(mine)
    methods = list(dict.fromkeys(row.method for row in mine))
    methods.sort(key=lambda method: method != OURS)
    parts = [head, plots.legend(methods, "m")]
    for measure, perfect in PLOTTED[name]:
        lines = _lines(mine, measure)
        if lines:
            title, meaning, direction = HEADINGS[name][measure]
            arrow = "higher is better" if direction > 0 else "lower is better" if direction < 0 else "0 is right"
            parts.append(f'<h3>{escape(title)} <span class="soft">{escape(meaning)} · {arrow}</span></h3>')
            parts.append(f'<div class="wide">{plots.dots(lines, methods, title, mark=perfect)}</div>')
    return "".join([*parts, _means(name, mine)])


def _lines(rows: Sequence[Row], measure: str) -> list[tuple[str, dict[str, float]]]:
    """One line a case, or one a group where there are more cases than one can look at; grouped cases stay together."""
    cases = list(dict.fromkeys(row.case for row in rows if measure in row.numbers))
    if len(cases) <= 40:
        return [
            (case, {r.method: r.numbers[measure] for r in rows if r.case == case and measure in r.numbers})
            for case in cases
        ]
    groups = list(dict.fromkeys(row.group for row in rows if measure in row.numbers))
    return [
        (group, mean_by([row for row in rows if row.group == group], lambda row: row.method, measure))
        for group in groups
    ]


def _means(suite: str, rows: Sequence[Row]) -> str:
    names = [name for name in COLUMNS[suite] if any(name in row.numbers for row in rows)]
    known = HEADINGS[suite]
    heads = "".join(f'<th title="{escape(known[name][1])}">{escape(known[name][0])}</th>' for name in names)
    lines = [f'<tr><th>group</th><th class="l">method</th><th>cases</th>{heads}</tr>']
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        means = {name: mean_by(members, lambda row: row.method, name) for name in names}
        for method in dict.fromkeys(row.method for row in members):
            cells = "".join(_cell(known[name][2], name, means[name], method) for name in names)
            count = sum(row.method == method for row in members)
            tone = ' class="ours"' if method == OURS else ""
            lines.append(
                f'<tr{tone}><td>{escape(group)}</td><td class="l">{escape(method)}</td><td>{count}</td>{cells}</tr>'
            )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _cell(direction: int, name: str, means: dict[str, float], method: str) -> str:
    if method not in means:
        return "<td>–</td>"
    # steadier than the truth, or a rim smoother than its surroundings, is not better than the truth: it is blur
    worth = {m: direction * (max(value, 1.0) if name in ("flicker", "seam") else value) for m, value in means.items()}
    tone = ""
    if max(worth.values()) > min(worth.values()):
        best, worst = max(worth.values()), min(worth.values())
        tone = ' class="best"' if worth[method] == best else ' class="worst"' if worth[method] == worst else ""
    return f"<td{tone}>{means[method]:.3f}</td>"


def _speed(rows: Sequence[Row]) -> str:
    started = [row for row in rows if row.group == "start"]
    beside = [row for row in rows if row.group == "paste"]
    rows = [row for row in rows if row not in started and row not in beside]
    lines = [_soft(f"{row.case}: {row.numbers['start_seconds']:.2f} s") for row in started]
    parts = [_beside(beside), *lines]
    if not rows:
        return "".join(parts)
    stages = list(dict.fromkeys(name for row in rows for name in row.numbers if name.startswith("stage_")))
    names = [stage.removeprefix("stage_") for stage in stages]
    bars = [
        (
            row.case,
            {n: row.numbers.get(s, 0.0) for n, s in zip(names, stages, strict=True)},
            row.numbers["ms_per_frame"],
        )
        for row in rows
    ]
    text = "Milliseconds of work a frame, by stage; the tick and the number are the wall clock (stages overlap on several cores)."
    cold = ", ".join(f"{row.case} {row.numbers['cold_seconds']:.1f} s" for row in rows[:4])
    plot = f'<div class="wide">{plots.stacks(bars, names, "ms a frame")}</div>'
    parts += [plots.legend(names, "s"), _soft(text), plot, _soft(f"Cold start to the last frame: {cold}.")]
    return "".join(parts)


def _beside(rows: Sequence[Row]) -> str:
    """Whole processes on real clips and the ratios of their times."""
    if not rows:
        return ""
    heads = "".join(f"<th>time over {escape(words)}</th>" for words, _ in RATIOS.values())
    lines = [f'<tr><th class="l">clip</th><th class="l">method</th><th>ms a frame</th>{heads}</tr>']
    for row in rows:
        n = row.numbers
        cells = "".join(f"<td>{n[name]:.2f}</td>" if name in n else "<td>–</td>" for name in RATIOS)
        tone = ' class="ours"' if row.method == OURS else ""
        lines.append(
            f'<tr{tone}><td class="l">{escape(row.case)}</td><td class="l">{escape(row.method)}</td>'
            f"<td>{n['ms_per_frame']:.0f}</td>{cells}</tr>"
        )
    text = "Whole processes on real clips with a pasted person, in turn; the ratios count, lower is better."
    return f'{_soft(text)}<div class="wide"><table>{"".join(lines)}</table></div>'


def _memory(rows: Sequence[Row]) -> str:
    lengths = [row for row in rows if (row.suite, row.group) == ("memory", "length")]
    points = [(row.numbers["frames"], row.numbers["peak_mib"]) for row in lengths]
    sizes = "".join(
        f"<tr><td>{escape(row.case)}</td><td>{row.numbers['peak_mib']:.0f}</td><td>{row.numbers['above_idle_mib']:.0f}</td>"
        f"<td>{row.numbers['frames_in_flight']:.0f}</td></tr>"
        for row in rows
    )
    head = "<tr><th>clip</th><th>peak MiB</th><th>above idle</th><th>frames in flight</th></tr>"
    plot = plots.line(points, "frames", "MiB")
    text = "Peak resident memory of a fresh process against the length of the clip, 240p: flat is the promise."
    return _soft(text) + plot + f"<table>{head}{sizes}</table>"


def _live(rows: Sequence[Row]) -> str:
    curve = [row.numbers for row in rows if row.group == "curve"]
    parts = [_soft(line) for line in live_lines(rows)]
    for measure, unit in CURVES:
        parts.append(
            f'<div class="wide">{plots.line([(n["seconds"], n[measure]) for n in curve], "seconds", unit)}</div>'
        )
    return "".join(parts)


def _pictures(strips: Sequence[Strip], found: Sequence[Strip], rows: Sequence[Row]) -> str:
    if not found:
        return ""
    hidden = len(found) - len(strips)
    text = "The worst case first, each at its moment furthest from the truth. Rate what you see; the mark is a guess."
    if hidden:
        text += f" {hidden} cases are of pictures that may not be published; `vidrase bench --all-pictures` shows them."
    head = f"<h2>Pictures and rating sheet</h2>{_soft(text)}"
    load = '<label class="soft">load: <input type="file" id="load" accept=".json"></label>'
    buttons = f'<p><button id="save">Save ratings</button> {load}</p>'
    return head + buttons + "".join(_figure(strip, rows) for strip in strips) if strips else head


def _figure(strip: Strip, rows: Sequence[Row]) -> str:
    pictures = "".join(
        f'<div><img alt="{escape(title)}" src="{_data(picture)}"><span>{escape(title)}</span></div>'
        for title, picture in strip.pictures
    )
    row = next((row for row in rows if row.case == strip.case and row.method == OURS), None)
    sheet = rating_sheet(strip.case, row.numbers if row else {})
    caption = f"<figcaption><b>{escape(strip.case)}</b> · {escape(strip.caption)}</figcaption>"
    return f"<figure>{caption}<div class='strip'>{pictures}</div>{sheet}</figure>"


def _soft(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'


def _data(picture: Rgb) -> str:
    bgr = np.ascontiguousarray(picture[..., ::-1])
    _, held = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(held.tobytes()).decode()


def _failures(results: Results) -> str:
    lines = [f"{f['suite']} · {f['case']} · {f['method']}: {f['error']}" for f in results.failures]
    lines += [f"not measured: {why}" for why in results.skipped]
    if not lines:
        return ""
    return "<h2>Failed and not measured</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _machine(record: dict[str, Any]) -> str:
    held = {**record["machine"], **record["versions"], **{f"setting {k}": v for k, v in record["settings"].items()}}
    lines = "".join(f"<tr><td>{escape(str(k))}</td><td class='l'>{escape(str(v))}</td></tr>" for k, v in held.items())
    return f"<h2>Machine and settings</h2><table>{lines}</table>"


def _best_rival(row: Row, rows: Sequence[Row]) -> float | None:
    """dB that ours is ahead of the best peer on its case; None without a peer."""
    rivals = [
        r.numbers["psnr"]
        for r in rows
        if (r.suite, r.case) == (row.suite, row.case) and r.method != OURS and "psnr" in r.numbers
    ]
    return row.numbers["psnr"] - max(rivals) if rivals and "psnr" in row.numbers else None
