"""Keys of providers that are unlike any other text, and the forms in which they would leak."""

import base64
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from providers.resources import Resource
from simulator.providers.echo import ECHOES
from simulator.providers.fault_kinds import ERRORS

# What keyed providers do, in their own words; where they can, they repeat in one of the forms what
# they were asked.
_ALONE: Final = ("transient", "challenge", "truncated", "unknown")
FAULTS: Final[tuple[dict[str, str] | None, ...]] = (
    *({"class": kind, "echo": echo} for echo in ECHOES for kind in (*ERRORS, "bad_payload")),
    *({"class": kind} for kind in _ALONE),
    None,
)


def placeholders(rows: Iterable[Resource]) -> dict[str, str]:
    """A key for each variable, unlike any other text."""
    names = sorted({row.key.variable for row in rows if row.key is not None})
    return {name: f"Zq{number:02}+Place=holder{name[:4]}9xW" for number, name in enumerate(names)}


def forms(secret: str) -> set[str]:
    raw = secret.encode()
    within = base64.b64encode(b"u:" + raw).decode()[4:-4]
    percent = quote(secret, safe="")
    return {
        *(secret, secret.lower(), secret.upper(), percent, percent.lower()),
        *(base64.b64encode(raw).decode().rstrip("="), within),
        *(raw.hex(), raw.hex().upper(), secret[: len(secret) // 2]),
    }


def around(text: str, found: str) -> str:
    """The text where it was found."""
    at = text.index(found)
    return text[max(0, at - 80) : at + 80]
