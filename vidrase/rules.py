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
    evidence: str
    """What it gains in the record (`benchmarks/results/0.1.0/ablation--epyc-2c--cpu.md`; means over the cases of a group; dB are
    PSNR), and the test that holds the visible case."""

    @property
    def group(self) -> str:
        """The part of the engine that it belongs to: mask, flow, sources, synthesis, blend or residual."""
        return self.name.split(".", 1)[0]


RULES = (
    # mask: detections to holes
    Rule("mask.union", "a mask is not united with its neighbours' masks, warped to it",
         "+.00 dB pasted people, -.04 walk; tests/test_mask.py"),
    Rule("mask.bridge", "a frame in which the detector missed an object has no mask of it",
         "+.11 dB pasted people, +.06 fixed; tests/test_mask.py"),
    Rule("mask.between", "a hidden or fast object is bridged by the flow alone, not on the line between its two sightings",
         "+.29 dB pasted people (two cases of six); tests/test_mask.py"),
    Rule("mask.flash", "a weak detection in a single frame counts",
         "+.03 dB pasted people, +.01 walk; tests/test_mask.py"),
    Rule("mask.swollen", "a mask much larger than those before and after is not cut back to them",
         "no case of the record; tests/test_mask.py"),
    Rule("mask.static", "mask pixels over background that did not move before and after are kept",
         "+.06 dB pasted people, -.05 walk; tests/test_mask.py"),
    Rule("mask.leaving", "at the frame's border a mask is not completed by a fuller one from nearby frames",
         "+.01 dB fixed; tests/test_mask.py"),
    Rule("mask.motion_residual", "nothing is added that moves with the object beside its mask",
         "coverage +.006 performers, +.004 pasted people, but -.17 dB there; tests/test_motion_residual.py"),
    Rule("mask.guided_edge", "edges are not moved to the picture's edges by a guided filter",
         "+.06 dB pasted people, -.13 walk; area -.03 to -.08 of the object; its function: tests/test_mask_guided_edge.py"),
    Rule("mask.to_border", "a mask near the frame's border does not go on to it",
         "+.01 dB fixed and walk; tests/test_mask.py"),
    Rule("mask.join", "slits between neighbouring masks are not closed",
         "-.02 dB pasted people, +.01 fixed and walk; a sliver between two people: tests/test_mask.py"),
    Rule("mask.dilate", "masks are not dilated",
         "coverage +.028 pasted people, +.08 dB; +.14 dB fixed, -.18 walk; tests/test_mask.py"),
    # flow: motion of the background near holes
    Rule("flow.prefill", "flow is measured on frames with the object still in the hole",
         "+.16 dB moving, -.05 still, +2.57 sample"),
    Rule("flow.two_steps", "flow is measured on the frames themselves, none of them warped by a homography first",
         "+.20 dB moving, +.04 still, +1.09 sample"),
    Rule("flow.lend", "a hole of the warped frame is not covered by the other frame before flow is measured",
         "+.13 dB moving, +.08 still, +.67 sample"),
    Rule("flow.bridge", "flow through a flash is measured from frame to frame",
         "bench --suite light: flash; tests/test_light.py"),
    Rule("flow.margin", "flow close to the hole is trusted",
         "+.09 dB moving, -.11 still, +.23 synthetic, +.72 sample"),
    Rule("flow.snap_to_plane", "residual flow of tenths of a pixel is kept where a homography explains the rest",
         "+.03 dB moving, -.02 still, +.25 synthetic, +.95 sample"),
    Rule("flow.prior", "hidden points do not go on moving as they did before they were covered",
         "-.01 dB moving, +.16 still, +.33 synthetic"),
    Rule("flow.prior_future", "hidden points do not move as they will after they are uncovered",
         "+.17 dB moving, +.07 still, +.30 synthetic"),
    Rule("flow.foreground", "pixels are also taken from objects that stay and move in front of the background",
         "without it a person who walks past is copied into the hole; tests/test_fill_protected.py"),
    # sources: where hidden pixels are seen
    Rule("sources.occlusion", "a trajectory ends at the first visible pixel, also where forward and backward flow disagree",
         "+.09 dB moving, +.11 still; tests/test_trajectories.py"),
    Rule("sources.kept", "hidden parts of what stays and moves on its own are not followed along its motion",
         "+.77 dB, hidden parts +1.88, before six movers (true masks), +.34 end to end; tests/test_fill_protected.py"),
    Rule("sources.plate", "a still camera is filled by flow, not from its background plate",
         "+.69 dB fixed, -.24 synthetic; tests/test_fill.py"),
    Rule("sources.playback", "moving background behind a still camera is the plate's median",
         "+.08 dB synthetic, -.01 fixed; tests/test_fill_dynamic_texture.py"),
    Rule("sources.keyframes", "nothing is taken from key frames beyond the window",
         "+27.5 dB synthetic/lingers, .00 elsewhere (too short); tests/test_fill_reference_frames.py"),
    Rule("sources.keyframes_over_far", "trajectories over many frames are preferred to key frames",
         "+5.08 dB synthetic/lingers"),
    Rule("sources.misfit", "a key frame's pixels are taken however badly they fit beside the hole",
         "+.08 dB moving at full length (six pairs of 70 frames: two of them +.27 and +.24), flicker +.08"),
    Rule("sources.dissolve", "the frames of a dissolve are filled from each other",
         "bench --suite light: dissolve; tests/test_light.py"),
    Rule("sources.defocus", "key frames are neither softened nor left out where their sharpness differs",
         "no case of the record; tests/test_fill_registration_quality.py"),
    Rule("sources.realign", "what comes from key frames is not registered again in later frames",
         "+4.54 dB synthetic/lingers"),
    Rule("sources.extend", "what comes from key frames is not extended into newly uncovered pixels",
         "+.09 dB synthetic/lingers; tests/test_fill_reference_frames.py"),
    Rule("sources.keyframe_shadows", "shadows in key frames are taken for background",
         ".00 dB walk; its function: tests/test_fill_residual.py"),
    # synthesis: what no frame shows
    Rule("synthesis.carry", "what was never seen is invented anew in every frame",
         "+.01 dB moving and still, +.03 synthetic, +4.06 synthetic/lingers"),
    Rule("synthesis.recall", "an invention that was hidden for a while is not used again",
         "-.01 dB moving, .00 still, +.05 synthetic"),
    Rule("synthesis.key_frame", "inventions are made on the frame at hand, not on the frame ahead that shows more",
         "+.09 dB synthetic (one case, +1.14); tests/test_fill_key.py"),
    Rule("synthesis.renew", "an invention is kept however much sharper or softer than the frame it has become",
         ".00 dB still; tests/test_fill_sharpness.py"),
    Rule("synthesis.fade", "a renewed invention replaces the old one at once",
         ".00 dB still; tests/test_fill_sharpness.py"),
    Rule("synthesis.refocus", "an invention does not follow the focus of the shot",
         "+.01 dB moving and still, +.03 synthetic; tests/test_fill_sharpness.py"),
    Rule("synthesis.outpaint", "an invention does not go on beyond the borders of its frame",
         "-.02 dB synthetic; tests/test_fill_key.py"),
    Rule("synthesis.seen_texture", "texture is also taken from earlier inventions",
         ".00 dB still; its function: tests/test_inpaint_shifts.py"),
    Rule("synthesis.slivers", "thin remains are invented by the network, not closed smoothly",
         ".00 dB still; it saves loading the network: tests/test_fill_synthesis_cache.py"),
    Rule("synthesis.texture", "the network's picture is used without texture of the surroundings",
         "-.22 dB moving, -.59 still, -.39 synthetic: PSNR prefers blur; its function: tests/test_inpaint_shifts.py"),
    # blend: from source coordinates to pixels
    Rule("blend.exposure", "sources are not matched to the light at the rim",
         "+.24 dB moving, +.17 still, +.56 synthetic"),
    Rule("blend.light", "sources keep the light of their own frame, but for an offset at the rim",
         "three real pairs: ends of fades +5 to +18 dB, flashes +10 to +12, bands +8 (one pair); tests/test_light.py"),
    Rule("blend.seams", "steps of light between sources are not evened out",
         "+.07 dB moving and still; its function: tests/test_fill_seams.py"),
    Rule("blend.mix", "the first of two sources alone is taken, not their mean",
         "+.09 dB moving, +.02 still, +.24 synthetic, +.28 sample"),
    Rule("blend.soft_edge", "the hole's edge is hard",
         "-.01 dB pasted people, .00 fixed and walk; a line where light differs: tests/test_fill_primitives.py"),
    Rule("blend.clean_taps", "interpolation beside a hole takes pixels of the object in",
         "+.19 dB moving, -.01 still, +1.09 synthetic, +1.33 sample; tests/test_fill_source_planes.py"),
    Rule("blend.grain", "the plate is pasted without noise",
         "-.19 dB synthetic, -.03 fixed: PSNR punishes noise; a still patch in a noisy clip: tests/test_fill_dynamic_texture.py"),
    Rule("blend.local_light", "the plate follows the light of the whole frame only",
         "-.20 dB fixed, +.03 synthetic (a crossing shadow +.46)"),
    # residual: shadows and what masks leave
    Rule("residual.cast", "no cast shadows are looked for",
         "recall of shadows +.28, false removal +.19 of the object's area; +.57 dB walk; tests/test_fill_residual.py"),
    Rule("residual.shot_light", "shadows are evaluated by the window alone, not by frames of the whole shot",
         "no case of the record; tests/test_fill_residual.py"),
    Rule("residual.light", "a change of light is matched by one gain a channel, however badly that fits",
         "fades and lamps are no shadows: tests/test_light.py; 18 shadow cases: false removal -.07, recall -.03"),
    Rule("residual.depth", "a shadow's own depth does not say where it ends",
         "recall of shadows .00, false removal -.02, -.06 where there is no shadow; tests/test_fill_residual.py"),
    Rule("residual.carry", "a shadow is not carried on to frames that do not prove it",
         "recall of shadows +.10, false removal +.13; +.47 dB walk; tests/test_fill_residual.py"),
    Rule("residual.carry_back", "a shot's first shadows are not looked for from later frames",
         "recall of shadows +.07, false removal +.09; +.47 dB walk; tests/test_fill_residual.py"),
    Rule("residual.foreign", "nothing is added that differs from every other frame beside the hole",
         "no case of the record; tests/test_fill_residual_foreground.py"),
    Rule("residual.contact", "the dark at an object's foot is not added",
         "+.05 dB pasted people, +.26 walk, recall of shadows +.02; its function: tests/test_fill_residual_foreground.py"),
    Rule("residual.static", "shadows that never move are not added",
         "recall of shadows +.05; tests/test_fill_static_shadow.py"),
    Rule("residual.vote", "shadows need not be confirmed by neighbouring frames",
         "false removal -.11 of the object's area, recall of shadows -.02"),
    Rule("residual.gaps", "gaps between a shadow and its object stay",
         "recall of shadows +.04, false removal +.03"),
    Rule("residual.protect", "what stays may become part of a shadow",
         "-.03 dB pasted people; tests/test_fill_residual_foreground.py"),
    Rule("residual.plate", "behind a still camera nothing is added that differs from the plate",
         "+.07 dB fixed; tests/test_fill_residual.py"),
)  # fmt: skip
GROUPS = tuple(dict.fromkeys(rule.group for rule in RULES))
_NAMES = frozenset(rule.name for rule in RULES)

_off: frozenset[str] = frozenset()
_asked: set[str] = set()


def enabled(name: str) -> bool:
    """Whether the rule `name` is on. Called from any thread."""
    _asked.add(name)
    return name not in _off


def off() -> tuple[str, ...]:
    """The names of all rules that are off now."""
    return tuple(sorted(_off))


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
