"""Which addresses are read, and what a playlist may lead to.

FFmpeg has protocols that read parts of files, wait for callers, or join what they are given; and lists (ffconcat, HLS, DASH)
that name other files. A name from elsewhere must not reach what its user did not name.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from vidrase.errors import RefusedSource

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp", "srt")
_PROTOCOLS = frozenset(
    "async bluray cache concat concatf crypto data fd ffrtmpcrypt ffrtmphttp ftp gopher gophers hls http httpproxy https icecast "
    "ipfs ipns ipfs_gateway librist libssh libsmbclient md5 mmsh mmst pipe prompeg rist rtmp rtmpe rtmps rtmpt rtmpte rtmpts rtp "
    "rtsp sctp sftp smb srt srtp subfile tcp tee tls udp udplite unix zmq".split()
)
_PSEUDO = re.compile(r"([A-Za-z][A-Za-z0-9_+.-]+)[:,]")
_LISTEN = re.compile(r"[?&;]listen\b", re.IGNORECASE)
_HEAD = 8192  # bytes in which FFmpeg recognises a list
_LARGEST_LIST = 4 << 20  # bytes
_DEEPEST = 8  # lists within lists


def check_address(text: str) -> None:
    """Raise RefusedSource for what FFmpeg would take for a protocol, other than files, the web and the kinds of streams known."""
    found = _PSEUDO.match(text)
    try:
        parts = urlsplit(text) if "://" in text else None
        _ = parts and parts.port  # read only now
        scheme = parts.scheme.lower() if parts and found and text[found.end() - 1] == ":" else ""
    except ValueError as error:
        raise RefusedSource(f"{text} is no address ({error}); expected one like http://host/clip.mp4") from error
    if scheme in (*SCHEMES, "file"):
        if scheme in ("tcp", "http", "https", "rtmp", "rtmps", "rtsp", "rtsps") and _LISTEN.search(text):
            raise RefusedSource(
                f"{text} would wait for callers; expected an address to read from, so leave 'listen' away"
            )
        return
    if "://" in text or (found and found[1].lower() in _PROTOCOLS and not Path(text).exists()):
        named = found[1] if found else text.partition("://")[0]
        raise RefusedSource(
            f"'{named[:40]}' addresses are not read; expected a file (./{named[:20]}… for one of that name), or one of "
            + ", ".join(f"{name}://" for name in SCHEMES)
        )


def check_references(path: Path, shown: str, *, alone: bool = False) -> None:
    """Raise RefusedSource when `path` is a list (ffconcat, HLS, DASH) that leads out of its own folder, by others in it too.

    shown: its name for people. alone: it lies in no folder of its own (a copy of a pipe): then it may lead nowhere.
    """
    seen: set[Path] = set()
    waiting = [(path, 0)]
    while waiting:
        one, depth = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        for name in _references(one, shown):
            plain = name.removeprefix("./")
            beside = not re.search(r"[/\\]|^\.\.?$", plain) and not re.match(r"[A-Za-z][\w+.-]*[:,]", plain)
            if alone or not beside or depth >= _DEEPEST:
                raise RefusedSource(
                    f"{shown} is a list that leads to '{name[:80]}', which does not lie beside it; "
                    "give --allow-references if you trust the list"
                )
            if (there := path.parent / plain).is_file():
                waiting.append((there, depth + 1))


def options_for(references: bool) -> dict[str, str]:
    """FFmpeg's options for a file; `references`: it may lead anywhere."""
    return {"safe": "0", "protocol_whitelist": "file,crypto,data,http,https,httpproxy,tcp,tls"} if references else {}


def _references(path: Path, shown: str) -> list[str]:
    """What the list `path` names, empty for any other file."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            kind = _kind(head)
            if kind is None:
                return []
            text = (head + file.read(_LARGEST_LIST + 1 - len(head))).decode("utf-8", "replace")
    except OSError:
        return []  # whoever reads it will say so
    if len(text) > _LARGEST_LIST:
        raise RefusedSource(
            f"{shown} is a list of more than {_LARGEST_LIST >> 20} MB; give --allow-references if you trust it"
        )
    if kind == "dash":
        found = re.findall(r"<(?:\w+:)?(?:BaseURL|Location)\b[^>]*>\s*([^<]*?)\s*<", text)
        return found + re.findall(r"\b(?:media|initialization|sourceURL|index|href)\s*=\s*[\"']([^\"']*)[\"']", text)
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    if kind == "ffconcat":
        named = [line.partition(" ") for line in (line.replace("\t", " ") for line in lines)]
        return [re.sub(r"['\\]", "", rest.strip()) for word, _, rest in named if word.strip("'\\\"") == "file"]
    found = [line for line in lines if line and not line.startswith("#")]
    return found + [
        name.strip('"')
        for line in lines
        if line.startswith("#")
        for name in re.findall(r"URI=(\"[^\"]*\"|[^,]+)", line)
    ]


def _kind(head: bytes) -> str | None:
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"#EXTM3U"):
        return "hls"
    if head.startswith(b"ffconcat"):
        return "ffconcat"
    return "dash" if b"<MPD" in head and b"\0" not in head[:64] else None
