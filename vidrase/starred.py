"""Passwords and tokens in addresses, starred: for everything that is said, shown or written.

The errors, the notes and the report star what they are given, so that no message has to think of it.
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s'\"<>|]+)")
_SECRET = re.compile(
    r"pass|pwd|token|key|secret|auth|sig|session|credential|jwt|cookie|ticket|streamid|policy|hdn|^(pw|pin|code|sas|st|sid|p|u|user)$",
    re.IGNORECASE,
)
_OPAQUE = 16  # characters from which a value may be a token whatever its name says
STARS = "***"


def starred(text: str) -> str:
    """`text` with user's passwords, and values of queries that are or may be secrets, replaced by stars in every address.

    Of rtmp:// addresses also the last part of the path, which is the stream's key.
    """
    return _ADDRESS.sub(_one, text) if "://" in text else text


def _one(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    rest, end = (rest[: -len(marks)], marks) if (marks := rest[len(rest.rstrip(":;,.)")) :]) else (rest, "")
    cut = next((at for at, mark in enumerate(rest) if mark in "/?#"), len(rest))
    host, tail = rest[:cut], rest[cut:]
    if "@" not in host and "@" in tail and re.search(r":(?!\d*$)", host) and not host.startswith("["):
        host, tail = f"{host}{tail[: tail.rindex('@') + 1]}", tail[tail.rindex("@") + 1 :]  # a slash in the password
    if "@" in host:
        user, _, place = host.rpartition("@")
        name, colon, _ = user.partition(":")
        host = f"{name}:{STARS}@{place}" if colon else f"{STARS}@{place}"
    at = next((at for at, mark in enumerate(tail) if mark in "?#"), len(tail))
    path, query = tail[:at], tail[at:]
    if scheme.lower().startswith("rtmp") and path.count("/") > 1:
        path = f"{path[: path.rindex('/') + 1]}{STARS if path[path.rindex('/') + 1 :] else ''}"
    return f"{scheme}{host}{path}{re.sub(r'[^?&;#]+', _value, query)}{end}"


def _value(found: re.Match[str]) -> str:
    name, equals, value = found[0].partition("=")
    if not equals:  # a bare token
        return STARS if len(name) >= _OPAQUE else name
    return f"{name}={STARS}" if value and (_SECRET.search(name) or len(value) >= _OPAQUE) else found[0]
