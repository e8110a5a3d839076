"""Reads addresses of notification services, NOTIFY_URLS and HEARTBEAT_URL: all of them is secret.

What follows the scheme may be a token wherever it stands, so nothing of it is ever shown.
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus, urlsplit

# A comma, a semicolon or a space ends an address only where the next one begins.
_SCHEME: Final = r"[a-z][a-z0-9+.-]*://"
_BETWEEN: Final = re.compile(rf"[\s,;]+(?={_SCHEME})", re.IGNORECASE)
_BEGINNING: Final = re.compile(_SCHEME, re.IGNORECASE)
# Shorter parts, and words in lower case such as `notifications`, are left to the logs, which need
# them: the address as a whole is hidden in any case.
_SHORTEST: Final = 8
_WORD: Final = re.compile(r"[a-z]*")
_ORDINALS: Final = {1: "1st", 2: "2nd", 3: "3rd", 21: "21st", 22: "22nd", 23: "23rd"}
# What can be the name of a server; the first part of slack://TOKEN/... is none.
_SERVER: Final = re.compile(
    r"(\[[0-9a-f:.]+\]|[a-z0-9-]+(\.[a-z0-9-]+)+|[a-z][a-z-]*)(:\d{1,5})?", re.IGNORECASE
)
_LONGEST_NAME: Final = 12  # of a user; a longer one may be half of a token
MOST_URLS: Final = 20


def split_notify_urls(text: str) -> tuple[str, ...]:
    """The addresses of a list, separated by spaces, line breaks or commas. Raises ValueError, which
    names a wrong one by its place."""
    urls = tuple(url.strip(" \t\r\n,;") for url in _BETWEEN.split(text.strip(" \t\r\n,;")))
    for number, url in enumerate(urls, start=1):
        if not _BEGINNING.match(url) or len(url.split("://", 1)[1]) == 0:
            raise ValueError(
                f"the {ordinal(number)} of {len(urls)} is not an address of apprise, such as"
                " tgram://BOT_TOKEN/CHAT_ID (docs/notifications.md)"
            )
        if re.search(r"\s", url):
            raise ValueError(
                f"the {ordinal(number)} of {len(urls)} ({scheme_of(url)}) has a space in it: write"
                " %20"
            )
    if len(urls) > MOST_URLS:
        raise ValueError(f"has {len(urls)} addresses, and {MOST_URLS} are the most")
    return urls


def check_heartbeat_url(text: str) -> None:
    """Raises ValueError unless it is an HTTP address."""
    try:
        parts = urlsplit(text)
        known = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        known = False
    if not known or re.search(r"\s", text):
        raise ValueError("must be an address such as https://hc-ping.com/UUID")


def scheme_of(url: str) -> str:
    """All of an address that may be shown: `tgram://…`."""
    return f"{url.partition('://')[0].lower()}://…"


def ordinal(number: int) -> str:
    """`1st`, up to MOST_URLS and a little more."""
    return _ORDINALS.get(number, f"{number}th")


def secrets_in_notify_url(url: str) -> Iterator[str]:
    """The address and its parts that may be secrets: user and password, and everything of the host,
    the path and the query that is long enough to be a token."""
    _, _, rest = url.partition("://")
    yield url
    yield rest
    userinfo, at, place = rest.rpartition("@")
    user, colon, password = userinfo.partition(":")
    if at:
        yield from (userinfo, password)
        if not colon or len(user) > _LONGEST_NAME:
            yield user
    place, _, query = place.partition("?")
    host, *path = place.split("/")
    words = path if _SERVER.fullmatch(host) else [host, *path]
    words += [option.partition("=")[2] for option in query.split("&")]
    for word in words:
        if len(word) >= _SHORTEST and not _WORD.fullmatch(word):
            yield from (word, unquote(word), unquote_plus(word))


def words_of_notify_url(url: str) -> Iterator[str]:
    """Every word of the address but the name of a server: what no text about this address needs,
    such as the topic of ntfy, which is as good as a password."""
    for word in re.split(r"[/:@?&=#+,]", url.partition("://")[2]):
        if "." not in word and word != "localhost":
            yield from (word, unquote_plus(word))
