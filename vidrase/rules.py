"""Every rule of the engine by name, so that a benchmark can switch it off and say what it is worth.

A rule is a step that could be left out: the result would be worse or slower, not wrong. All rules are on, always, but in
`vidrase bench --ablate`, which measures every case without the rule, and in tests. The record of that run is the evidence for the
rule; a rule that gains nothing there is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One step that can be left out."""

    name: str
    """`group.step`."""
    without: str
    """What happens instead when it is off."""

    @property
    def group(self) -> str:
        """The part of the engine that it belongs to: mask, flow, sources, synthesis, blend or residual."""
        return self.name.split(".", 1)[0]


RULES = (
    # mask: detections to holes
    Rule("mask.union", "a mask is not united with its neighbours' masks, warped to it"),
    Rule("mask.bridge", "a frame in which the detector missed an object has no mask of it"),
    Rule("mask.between", "a hidden or fast object is bridged by the flow alone, not on the line between its two sightings"),
    Rule("mask.flash", "a weak detection in a single frame counts"),
    Rule("mask.swollen", "a mask much larger than those before and after is not cut back to them"),
    Rule("mask.static", "mask pixels over background that did not move before and after are kept"),
    Rule("mask.leaving", "at the frame's border a mask is not completed by a fuller one from nearby frames"),
    Rule("mask.motion_residual", "nothing is added that moves with the object beside its mask"),
    Rule("mask.guided_edge", "edges are not moved to the picture's edges by a guided filter"),
    Rule("mask.close", "gaps in a mask are not closed"),
    Rule("mask.fill_holes", "small holes inside a mask are not filled"),
    Rule("mask.to_border", "a mask near the frame's border does not go on to it"),
    Rule("mask.join", "slits between neighbouring masks are not closed"),
    Rule("mask.dilate", "masks are not dilated"),
    # flow: motion of the background near holes
    Rule("flow.prefill", "flow is measured on frames with the object still in the hole"),
    Rule("flow.two_steps", "flow is measured on the frames themselves, none of them warped by a homography first"),
    Rule("flow.lend", "a hole of the warped frame is not covered by the other frame before flow is measured"),
    Rule("flow.margin", "flow close to the hole is trusted"),
    Rule("flow.snap_to_plane", "residual flow of tenths of a pixel is kept where a homography explains the rest"),
    Rule("flow.prior", "hidden points do not go on moving as they did before they were covered"),
    Rule("flow.prior_future", "hidden points do not move as they will after they are uncovered"),
    Rule("flow.foreground", "pixels are also taken from objects that stay and move in front of the background"),
    # sources: where hidden pixels are seen
    Rule("sources.occlusion", "a trajectory ends at the first visible pixel, also where forward and backward flow disagree"),
    Rule("sources.plate", "a still camera is filled by flow, not from its background plate"),
    Rule("sources.playback", "moving background behind a still camera is the plate's median"),
    Rule("sources.keyframes", "nothing is taken from key frames beyond the window"),
    Rule("sources.keyframes_over_far", "trajectories over many frames are preferred to key frames"),
    Rule("sources.misfit", "a key frame's pixels are taken however badly they fit beside the hole"),
    Rule("sources.defocus", "key frames are neither softened nor left out where their sharpness differs"),
    Rule("sources.realign", "what comes from key frames is not registered again in later frames"),
    Rule("sources.extend", "what comes from key frames is not extended into newly uncovered pixels"),
    Rule("sources.keyframe_shadows", "shadows in key frames are taken for background"),
    # synthesis: what no frame shows
    Rule("synthesis.carry", "what was never seen is invented anew in every frame"),
    Rule("synthesis.recall", "an invention that was hidden for a while is not used again"),
    Rule("synthesis.key_frame", "inventions are made on the frame at hand, not on the frame ahead that shows more"),
    Rule("synthesis.renew", "an invention is kept however much sharper or softer than the frame it has become"),
    Rule("synthesis.fade", "a renewed invention replaces the old one at once"),
    Rule("synthesis.refocus", "an invention does not follow the focus of the shot"),
    Rule("synthesis.outpaint", "an invention does not go on beyond the borders of its frame"),
    Rule("synthesis.seen_texture", "texture is also taken from earlier inventions"),
    Rule("synthesis.slivers", "thin remains are invented by the network, not closed smoothly"),
    Rule("synthesis.texture", "the network's picture is used without texture of the surroundings"),
    Rule("synthesis.border", "what comes into view at a border does not continue the invention beside it"),
    # blend: from source coordinates to pixels
    Rule("blend.exposure", "sources are not matched to the light at the rim"),
    Rule("blend.seams", "steps of light between sources are not evened out"),
    Rule("blend.mix", "the first of two sources alone is taken, not their mean"),
    Rule("blend.soft_edge", "the hole's edge is hard"),
    Rule("blend.clean_taps", "interpolation beside a hole takes pixels of the object in"),
    Rule("blend.grain", "the plate is pasted without noise"),
    Rule("blend.local_light", "the plate follows the light of the whole frame only"),
    # residual: shadows and what masks leave
    Rule("residual.cast", "no cast shadows are looked for"),
    Rule("residual.shot_light", "shadows are evaluated by the window alone, not by frames of the whole shot"),
    Rule("residual.depth", "a shadow's own depth does not say where it ends"),
    Rule("residual.carry", "a shadow is not carried on to frames that do not prove it"),
    Rule("residual.carry_back", "a shot's first shadows are not looked for from later frames"),
    Rule("residual.foreign", "nothing is added that differs from every other frame beside the hole"),
    Rule("residual.contact", "the dark at an object's foot is not added"),
    Rule("residual.static", "shadows that never move are not added"),
    Rule("residual.vote", "shadows need not be confirmed by neighbouring frames"),
    Rule("residual.gaps", "gaps between a shadow and its object stay"),
    Rule("residual.protect", "what stays may become part of a shadow"),
    Rule("residual.plate", "behind a still camera nothing is added that differs from the plate"),
)  # fmt: skip
GROUPS = tuple(dict.fromkeys(rule.group for rule in RULES))
_NAMES = frozenset(rule.name for rule in RULES)

_off: frozenset[str] = frozenset()
_asked: set[str] = set()


def enabled(name: str) -> bool:
    """Whether the rule `name` is on. Called from any thread."""
    _asked.add(name)
    return name not in _off


@contextmanager
def watched() -> Iterator[set[str]]:
    """A set that holds, at the end, the names of all rules that were asked for: the others had no part in what was done."""
    _asked.clear()
    asked: set[str] = set()
    yield asked
    asked |= _asked


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Switch rules off for a while: names of rules or of whole groups. For benchmarks and tests; holds for the whole process.

    Raises KeyError for a name that does not exist.
    """
    global _off
    off = frozenset(rule.name for rule in RULES if rule.name in names or rule.group in names)
    if unknown := set(names) - _NAMES - set(GROUPS):
        raise KeyError(f"no rule or group {', '.join(sorted(unknown))}")
    before, _off = _off, _off | off
    try:
        yield
    finally:
        _off = before
