"""Map a user's words to classes of the model: names or ids, any case, plurals, common synonyms."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from vidrase.errors import UnknownLabel

# Objects that people carry or ride: removed together with the person, because they would be left floating in the air.
CARRIED = frozenset(
    name.replace("_", " ")
    for name in (
        "backpack umbrella handbag tie suitcase bottle cup book laptop cell_phone bicycle motorcycle skateboard snowboard skis "
        "surfboard kite frisbee sports_ball baseball_bat baseball_glove tennis_racket"
    ).split()
)

# Classes that belong to the background unless the user names them.
SCENERY = frozenset(
    name.replace("_", " ")
    for name in (
        "bench couch bed dining_table toilet oven sink refrigerator microwave potted_plant traffic_light fire_hydrant stop_sign "
        "parking_meter"
    ).split()
)
# Detectors confuse the classes of one group; ids never pass from one group to another.
GROUPS = (
    "car truck bus train",
    "bicycle motorcycle",
    "dog cat horse sheep cow bear zebra giraffe elephant",
    "backpack handbag suitcase",
    "skateboard snowboard surfboard skis",
    "chair couch bench bed",
    "tv laptop",
    "tennis_racket frisbee baseball_bat",
)
GROUP_OF = {label.replace("_", " "): group for group in GROUPS for label in group.split()}
"""Class -> its group; a class without an entry is a group of its own."""
EVERYTHING = frozenset({"all", "everything"})

_IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse", "knives": "knife",
    "sheep": "sheep", "skis": "skis", "scissors": "scissors", "geese": "goose", "wolves": "wolf", "loaves": "loaf",
    "buses": "bus", "busses": "bus", "couches": "couch", "benches": "bench", "oxen": "ox", "bikes": "bike",
    "movies": "movie", "cookies": "cookie", "ties": "tie", "kites": "kite", "horses": "horse", "houses": "house",
}  # fmt: skip
_SYNONYM_GROUPS = {
    "person": "man woman child kid boy girl human pedestrian walker baby guy lady gentleman player dancer hiker cyclist "
    "rider skier surfer runner adult passenger persona tourist",
    "bicycle": "bike pushbike cycle",
    "motorcycle": "motorbike moped scooter",
    "car": "auto automobile taxi cab suv sedan",
    "truck": "lorry pickup van",
    "airplane": "plane aeroplane aircraft jet",
    "tv": "television telly monitor screen tvmonitor",
    "couch": "sofa settee",
    "cell phone": "phone mobile smartphone cellphone telephone handy",
    "dining table": "table desk diningtable",
    "potted plant": "plant flowerpot pottedplant houseplant",
    "remote": "remotecontrol",
    "laptop": "notebook computer",
    "backpack": "rucksack",
    "handbag": "bag purse",
    "refrigerator": "fridge",
    "hair drier": "hairdryer dryer",
    "traffic light": "stoplight trafficlight",
    "stop sign": "stopsign",
    "fire hydrant": "hydrant",
    "sports ball": "ball football basketball volleyball",
    "frisbee": "disc",
    "dog": "puppy doggy",
    "cat": "kitten kitty",
    "cow": "cattle bull calf",
    "horse": "pony foal",
    "bird": "pigeon seagull gull duck",
    "boat": "ship sailboat",
    "donut": "doughnut",
    "wine glass": "wineglass glass",
    "mouse": "computermouse",
    "tie": "necktie",
    "baseball bat": "bat",
    "tennis racket": "racket racquet",
    "teddy bear": "teddy",
    "bus": "coach",
    "suitcase": "luggage trolley",
}
_SYNONYMS = {word: name for name, words in _SYNONYM_GROUPS.items() for word in words.split()}


def resolve(word: str, names: Mapping[int, str]) -> str | None:
    """The model's class for `word`: "People" -> "person", "2" -> names[2]; None when there is none."""
    text = " ".join(word.lower().replace("_", " ").replace("-", " ").split())
    if text.isdecimal():
        return names.get(int(text))
    known = {" ".join(name.lower().replace("_", " ").replace("-", " ").split()): name for name in names.values()}
    joined = {name.replace(" ", ""): real for name, real in known.items()}
    for form in _forms(text):
        if form in known:
            return known[form]
        if form.replace(" ", "") in joined:
            return joined[form.replace(" ", "")]
        synonym = _SYNONYMS.get(form) or _SYNONYMS.get(form.replace(" ", ""))
        if synonym in known:
            return known[synonym]
    return None


def require(word: str, names: Mapping[int, str]) -> str:
    """Like `resolve`. Raises UnknownLabel, one line, with the nearest name."""
    found = resolve(word, names)
    if found is not None:
        return found
    text = word.lower().strip()
    if text.isdecimal():
        raise UnknownLabel(
            f"no class {text}; this model has classes {min(names)} to {max(names)} (see `vidrase FILE --list`)"
        )
    spelt = {name.lower(): name for name in names.values()}
    candidates = list(spelt) + [word for word, name in _SYNONYMS.items() if name in spelt] + list(_IRREGULAR)
    near = [
        form for attempt in _forms(text) for form in difflib.get_close_matches(attempt, candidates, n=1, cutoff=0.7)
    ]
    if near:
        raise UnknownLabel(f"no class '{word}'; did you mean '{resolve(near[0], names) or near[0]}'?")
    some = list(names.values())
    listed = ", ".join(some[:12]) + (f" and {len(some) - 12} more" if len(some) > 12 else "")
    raise UnknownLabel(f"no class '{word}'; this model knows {listed}")


def scenery(queries: Iterable[str], names: Mapping[int, str]) -> frozenset[str]:
    """Classes of `SCENERY` that no query names; a query is one class, or several separated by commas."""
    words = [word.strip() for query in queries for word in query.split(",")]
    if any(word.lower() in EVERYTHING for word in words):
        return frozenset()
    return SCENERY - alike(*(label for label in (resolve(word, names) for word in words) if label))


def alike(*labels: str) -> frozenset[str]:
    """The classes `labels` and those that detectors confuse with them."""
    groups = {GROUP_OF.get(label, label) for label in labels}
    return frozenset(labels) | {label for label, group in GROUP_OF.items() if group in groups}


def _forms(text: str) -> list[str]:
    """`text` and its possible singulars; the last word has the plural ("traffic lights")."""
    head, _, last = text.rpartition(" ")
    singular = [last]
    if last in _IRREGULAR:
        singular.append(_IRREGULAR[last])
    if last.endswith("ies") and len(last) > 4:
        singular.append(last[:-3] + "y")
    if last.endswith("es") and len(last) > 3:
        singular.append(last[:-2])
    if last.endswith("s") and not last.endswith("ss") and len(last) > 2:
        singular.append(last[:-1])
    return [f"{head} {form}".strip() for form in dict.fromkeys(singular)]
