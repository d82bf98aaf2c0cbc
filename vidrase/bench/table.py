"""The terminal's view: groups by methods, ratios to the peers, and the worst results."""

from __future__ import annotations

from collections.abc import Sequence

from vidrase.bench.evaluation import MEASURES
from vidrase.bench.inputs.measure import inputs_table
from vidrase.bench.light import LIGHT_MEASURES
from vidrase.bench.masks import MASK_MEASURES
from vidrase.bench.peers import OURS
from vidrase.bench.ratios import RATIOS
from vidrase.bench.removal import REMOVAL_MEASURES
from vidrase.bench.results import Results, Row, mean_by
from vidrase.bench.speed import growth

HEADINGS = {
    "quality": MEASURES,
    "light": LIGHT_MEASURES,
    "stills": MEASURES,
    "removal": REMOVAL_MEASURES,
    "masks": MASK_MEASURES,
}
"""suite -> measure -> (heading, meaning, direction)."""
COLUMNS = {
    "quality": (
        "psnr",
        "ssim",
        "flicker",
        "seam",
        "texture",
        "psnr_frame",
        "ssim_frame",
        "lpips",
        "changed_outside",
        "share_copied",
        "cpu_ms_per_frame",
    ),
    "light": tuple(LIGHT_MEASURES),
    "stills": (
        "psnr",
        "ssim",
        "l1",
        "seam",
        "texture",
        "gmsd",
        "ms_ssim",
        "lpips",
        "changed_outside",
        "cpu_ms_per_frame",
    ),
    "removal": tuple(REMOVAL_MEASURES),
    "masks": tuple(MASK_MEASURES),
}


def table(results: Results) -> str:
    """All suites as text."""
    suites = list(dict.fromkeys(row.suite for row in results.rows))
    parts = [_suite(suite, [row for row in results.rows if row.suite == suite]) for suite in suites]
    if found := weaknesses(results.rows):
        parts.append("where it is weak\n" + "\n".join(f"  {line}" for line in found))
    if results.failures:
        lines = [f"  {f['suite']} {f['case']} {f['method']}: {f['error']}" for f in results.failures]
        parts.append("failed\n" + "\n".join(lines))
    if results.skipped:
        parts.append("not measured\n" + "\n".join(f"  {why}" for why in results.skipped))
    return "\n\n".join(parts)


def weaknesses(rows: Sequence[Row], most: int = 14) -> list[str]:
    """The worst of ours in plain words, worst first: losses to a peer, flicker, seams, blur, leftovers, growth."""
    found: list[tuple[float, str]] = []
    ours = [row for row in rows if row.method == OURS]
    for row in ours:
        rivals = [
            r for r in rows if (r.suite, r.case) == (row.suite, row.case) and r.method != OURS and "psnr" in r.numbers
        ]
        n = row.numbers
        if rivals and "psnr" in n:
            best = max(rivals, key=lambda rival: rival.numbers["psnr"])
            loss = best.numbers["psnr"] - n["psnr"]
            if loss > 0.1:
                text = f"{row.case}: {loss:.1f} dB behind {best.method} ({n['psnr']:.1f} against {best.numbers['psnr']:.1f})"
                found.append((2 + loss, text))
        for name, limit, words in (
            ("flicker", 1.5, "flickers {:.1f} times as much as the truth"),
            ("seam", 1.4, "steps across the rim are {:.1f} times those of the truth"),
            ("leftover", 0.05, "{:.0%} of the object is left over"),
            ("redetected", 0.05, "a detector still finds the object in {:.0%} more frames than in the truth"),
            ("shadow_left", 0.2, "{:.0%} of the visible shadow is left over"),
            ("false_removal", 0.002, "{:.2%} of the frame is changed away from the object and its shadow"),
            ("false_share", 0.1, "the shadow stage takes {:.0%} of the object's area that is no shadow"),
            ("dropouts", 0.05, "more than half of the person is missed in {:.0%} of the frames"),
            ("changed_outside", 0.5, "{:.0f} pixels changed outside the hole"),
            ("ratio_to_script", 1.0, "takes {:.2f} times as long as the script that a user would write"),
        ):
            if n.get(name, 0.0) > limit:
                found.append((n[name] / limit, f"{row.case}: {words.format(n[name])}"))
        if n.get("shadow_recall", 1.0) < 0.8:
            words = "the shadow stage finds {:.0%} of the visible shadow".format(n["shadow_recall"])
            found.append(((1 - n["shadow_recall"]) / 0.2, f"{row.case}: {words}"))
        if n.get("loss", 0.0) > 3:
            found.append((n["loss"] / 3, f"{row.case}: {n['loss']:.1f} dB below the same frames in steady light"))
        if n.get("texture", 0.0) < -0.012:
            found.append(
                (n["texture"] / -0.012, f"{row.case}: blurred, texture {n['texture']:.3f} below its surroundings")
            )
        for name, what in (("frames_equal", "frames"), ("times_equal", "times"), ("audio_equal", "sound")):
            if n.get(name, 1.0) < 1.0:
                found.append((9.0, f"{row.case}: {what} not as in the input"))
    slope = growth(rows)
    if slope is not None and slope > 8:
        found.append((5.0, f"memory grows by {slope:.0f} MiB with every 100 frames"))
    return [text for _, text in sorted(found, key=lambda item: -item[0])[:most]]


def _suite(suite: str, rows: Sequence[Row]) -> str:
    if suite in ("speed", "memory"):
        return _measured(suite, rows)
    if suite == "live":
        return "\n  ".join(["live: one run", *live_lines(rows)])
    if suite == "inputs":
        return "\n  ".join(["inputs: every case through the command line", *inputs_table(rows)])
    heads = HEADINGS[suite]
    names = [name for name in COLUMNS[suite] if any(name in row.numbers for row in rows)]
    lines = [f"{suite}: means over cases ({'/'.join('·↑↓'[heads[n][2]] for n in names)} is better)"]
    lines.append(f"  {'group':18s} {'cases':>5s} {'method':26s} " + " ".join(f"{heads[n][0]:>11s}" for n in names))
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        for method in dict.fromkeys(row.method for row in members):
            mine = [row for row in members if row.method == method]
            means = {name: mean_by(mine, lambda _: "", name).get("") for name in names}
            cells = " ".join(f"{'-' if value is None else f'{value:.3f}':>11s}" for value in means.values())
            lines.append(f"  {group:18s} {len(mine):5d} {method:26s} {cells}")
    lines += _ratios(rows)
    return "\n".join(lines)


def _ratios(rows: Sequence[Row]) -> list[str]:
    """Squared error and processor time of ours over each peer's, over the cases that both did."""
    lines, work = [], "cpu_ms_per_frame"
    for method in dict.fromkeys(row.method for row in rows if row.method != OURS):
        twins = [
            (mine.numbers, peer.numbers)
            for mine in rows
            for peer in rows
            if mine.method == OURS
            and peer.method == method
            and mine.case == peer.case
            and "psnr" in mine.numbers
            and "psnr" in peer.numbers
        ]
        if not twins:
            continue
        gain = sum(a["psnr"] - b["psnr"] for a, b in twins) / len(twins)
        wins = sum(a["psnr"] > b["psnr"] for a, b in twins)
        text = (
            f"  against {method}: {gain:+.2f} dB (error x {10 ** (-gain / 10):.2f}), better on {wins} of {len(twins)}"
        )
        timed = [(a[work], b[work]) for a, b in twins if work in a and work in b]
        if timed:
            text += f", work x {sum(a for a, _ in timed) / max(sum(b for _, b in timed), 1e-9):.2f}"
        lines.append(text)
    return lines


def live_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each live row that is not a point of a curve."""
    lines = []
    for row in rows:
        n = row.numbers
        if row.group == "soak":
            text = f"{n['minutes']:g} min at 30 fps, 854x480: {n['fps']:.1f} fps, {n['dropped_share']:.2%} dropped, "
            text += f"clock in the picture {n['clock_ms_p50']:.0f} ms (95 %: {n['clock_ms_p95']:.0f}), "
            text += f"peak {n['peak_mib']:.0f} MiB"
            if n["minutes"] >= 3:  # sooner it is warming up, not growth
                text += f", {n['growth_mib_per_minute']:+.2f} MiB a minute"
        elif row.group == "paced":
            text = f"{n['fps']:.1f} fps recorded, {n['memory_mib']:.0f} MiB, which moved by {n['memory_moves']:.1%} "
            text += f"({n['memory_growth']:+.1%} from the first quarter to the last)"
        elif row.group == "slow clients":
            text = f"{n['recorded']:.0f} frames recorded in {n['minutes']:g} min, {n['dropped']:.0f} dropped; at most "
            text += f"{n['most_held']:.0f} connections, {n['sent_away']:.0f} sent away"
        elif row.group == "fixed camera":
            text = f"{n['psnr']:.1f} dB in the hole against the clean plate ({n['psnr_beside']:.1f} beside it), "
            text += f"{n['share_real']:.0%} real background"
        else:
            continue
        lines.append(f"{row.case:28s} {text}")
    return lines


def _measured(suite: str, rows: Sequence[Row]) -> str:
    lines = [f"{suite}: median of the runs"]
    for row in rows:
        n = row.numbers
        if "start_seconds" in n:
            text = f"{n['start_seconds']:.2f} s"
        elif row.group == "paste":
            text = _beside(row)
        elif suite == "speed":
            stages = ", ".join(f"{k.removeprefix('stage_')} {v:.1f}" for k, v in n.items() if k.startswith("stage_"))
            bound = f", {n['over_bound']:.2f} x decode+detect+encode" if "over_bound" in n else ""
            text = f"{n['ms_per_frame']:.1f} ms ± {row.iqr.get('ms_per_frame', 0):.1f}, processor {n['cpu_ms_per_frame']:.1f} "
            text += f"({n['fps']:.1f} fps{bound}; {stages}); cold {n['cold_seconds']:.1f} s"
            if "gpu_peak_mib" in n:
                text += f", GPU {n['gpu_peak_mib']:.0f} MiB"
        else:
            text = f"peak {n['peak_mib']:.0f} MiB, {n['above_idle_mib']:.0f} above an idle process, "
            text += f"{n['frames_in_flight']:.0f} frames in flight"
            if n.get("gpu_peak_mib"):
                text += f", GPU {n['gpu_peak_mib']:.0f} MiB"
        lines.append(f"  {row.case:28s} {text}")
    slope = growth(rows)
    if suite == "memory" and slope is not None:
        lines.append(f"  growth with length: {slope:+.2f} MiB a hundred frames (240p)")
    return "\n".join(lines)


def _beside(row: Row) -> str:
    """A whole process on a real clip, and what it is in multiples of the others of the same run."""
    n = row.numbers
    text = f"{row.method}: {n['ms_per_frame']:.0f} ms a frame ± {row.iqr.get('ms_per_frame', 0):.0f}, "
    text += f"processor {n['cpu_ms_per_frame']:.0f}, start included"
    for name, (words, _) in RATIOS.items():
        if name in n:
            text += f", {n[name]:.2f} x {words}"
    return text
