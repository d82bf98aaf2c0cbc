"""Home and cache folders that cannot be written, are files, are not there or are not named at all: none is needed for a run."""

from __future__ import annotations

from collections.abc import Mapping

from vidrase.bench.inputs.case import Case

NOWHERE = "/proc/nowhere"  # a folder that nobody can make, root neither
CACHES = {"VIDRASE_CACHE_DIR": None, "XDG_CACHE_HOME": None, "YOLO_CONFIG_DIR": None}
HOMES: dict[str, Mapping[str, str | None]] = {
    "no HOME": {"HOME": None},
    "an empty HOME": {"HOME": ""},
    "a HOME that is not there": {"HOME": NOWHERE},
    "a HOME that is a file": {"HOME": "{here}/in.mp4"},
    "a HOME that is a device": {"HOME": "/dev/null"},
    "a relative HOME": {"HOME": "home"},
    "a cache that is a file": {"XDG_CACHE_HOME": "{here}/mask.png"},
    "a cache that is not there": {"XDG_CACHE_HOME": NOWHERE},
    "a relative cache": {"XDG_CACHE_HOME": "cache"},
    "an empty cache": {"XDG_CACHE_HOME": "", "HOME": NOWHERE},
    "a cache of our own that is a file": {"VIDRASE_CACHE_DIR": "{here}/mask.png"},
    "a cache of nobody": {"VIDRASE_CACHE_DIR": "~nobody-of-that-name/cache"},
    "folders of models that are not there": {"VIDRASE_MODEL_DIR": f"{NOWHERE}:{{here}}/in.mp4:~nobody-of-that-name"},
    "settings of ultralytics that are a device": {"YOLO_CONFIG_DIR": "/dev/null", "HOME": NOWHERE},
    "no folder for temporary files": {"TMPDIR": NOWHERE, "HOME": NOWHERE},
}


def _cases(what: str, variables: Mapping[str, str | None]) -> list[Case]:
    environment = {**CACHES, "VIDRASE_MODEL_DIR": None, **variables}
    words = ["in.mp4", "--remove", "person", "--model", "vidrase-seg", "--time", "0-0.1", "-o", "o.mp4"]
    return [
        Case(f"looking for people, {what}", words, makes=("o.mp4",), frames=6, environment=environment),
        Case(f"the list of models, {what}", ["models"], says="vidrase-seg", environment=environment),
    ]


CASES = [
    *(case for what, variables in HOMES.items() for case in _cases(what, variables)),
    Case(
        "weights pulled to no home",
        ["models", "pull", "yolov8n-seg"],
        code=1,
        says="name another folder in VIDRASE_CACHE_DIR",
        environment={**CACHES, "HOME": NOWHERE},
    ),
    Case(
        "weights pulled to a relative home",
        ["models", "pull", "yolov8n-seg"],
        code=1,
        says="name one in VIDRASE_CACHE_DIR",
        environment={**CACHES, "HOME": "home"},
    ),
]
