"""Keys of providers that are unlike any other text, and the forms in which they would leak."""

import base64
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from providers.resources import Resource

# What each keyed provider does once, in its own words.
FAULTS: Final = (
    *("key_rejected", "plan_forbids", "rate_limited", "quota_spent", "geo_blocked"),
    *("caller_fault", "transient", "challenge", "truncated", "bad_payload", "unknown", None),
)


def placeholders(rows: Iterable[Resource]) -> dict[str, str]:
    """A key for each variable, unlike any other text."""
    names = sorted({row.key.variable for row in rows if row.key is not None})
    return {name: f"Zq{number:02}Placeholder{name[:4]}9xW" for number, name in enumerate(names)}


def forms(secret: str) -> set[str]:
    raw = secret.encode()
    return {
        *(secret, secret.lower(), secret.upper(), secret[::-1], quote(secret, safe="")),
        *(base64.b64encode(raw).decode().rstrip("="), raw.hex()),
    }


def around(text: str, found: str) -> str:
    """The text where it was found."""
    at = text.index(found)
    return text[max(0, at - 80) : at + 80]
