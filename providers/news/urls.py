"""Canonical URLs: the one address of a story, whatever link a feed has to it."""

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from w3lib.url import canonicalize_url

_LONGEST: Final = 2_048
# Parameters that say where a reader came from, and keys, which no stored address may have.
_DROPPED: Final = re.compile(
    r"utm_.*|mtm_.*|pk_.*|at_(?:medium|campaign)|ref|ref_?src|referrer|fbclid|gclid|dclid|msclkid"
    r"|twclid|yclid|igsh(?:id)?|mc_[ce]id|mkt_tok|_ga|_gl|cmp|cmpid|ncid|guccounter|amp|outputtype"
    r"|auth_?token|api_?key|access_?token|token|key",
    re.IGNORECASE,
)
_MOBILE: Final = re.compile(r"(?:m|amp|mobile)\.(?=[^.]+\.)")
_AMP_OF_GOOGLE: Final = re.compile(r"/amp/(?:s/)?(?=[^/]+\.)")
_AMP_CACHE: Final = re.compile(r"/[cv]/(?:s/)?(?=[^/]+\.)")


def canonical_url(link: str) -> str | None:
    """By https, without the marks of trackers, of AMP and of mobile pages; None if it is no link to
    a page."""
    link = link.strip()
    if len(link) > _LONGEST:
        return None
    try:
        parts = urlsplit(canonicalize_url(link))
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "." not in host:
        return None
    path = parts.path
    if (behind := _behind_amp(host, path)) is not None:
        host, _, rest = behind.partition("/")
        port, path = None, f"/{rest}"
    host = _MOBILE.sub("", host.lower(), count=1) if not _is_address(host) else host
    if port not in (None, 80, 443):
        host = f"{host}:{port}"
    return urlunsplit(("https", host, _path(path), _query(parts.query), ""))


def _behind_amp(host: str, path: str) -> str | None:
    """`host/path` of the page that an AMP cache has a copy of."""
    if host.endswith(".cdn.ampproject.org"):
        prefix = _AMP_CACHE.match(path)
    elif host in ("www.google.com", "google.com"):
        prefix = _AMP_OF_GOOGLE.match(path)
    else:
        return None
    return path[prefix.end() :] if prefix else None


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _path(path: str) -> str:
    path = path.rstrip("/")
    for mark in ("/amp", ".amp"):
        path = path.removesuffix(mark)
    if path.startswith("/amp/"):
        path = path.removeprefix("/amp")
    return path.rstrip("/") or "/"


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, value) for name, value in pairs if not _DROPPED.fullmatch(name)])
