"""Hides known secrets in a text, in the forms in which libraries repeat them."""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from string import ascii_uppercase
from typing import Any, Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "***"
# Shorter ones are parts of ordinary words, and no line would be readable.
_SHORTEST: Final = 4
_PART: Final = 8
_LOWER: Final = {ord(sign): sign.lower() for sign in ascii_uppercase}


class Redactor:
    """Replaces secrets of four characters and more by ***: as they are, percent-encoded, base64,
    hexadecimal, as Python and JSON write them, in upper and lower case.

    `parts`: eight characters of a secret in a row, in any form, are hidden, too. That is for keys
    that were drawn: parts of passwords may be words of any message."""

    def __init__(self, secrets: Iterable[str] = (), *, parts: bool = False) -> None:
        secrets = list(secrets)
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None
        )
        lower = [form.translate(_LOWER) for form in forms] if parts else []
        self._parts = frozenset(
            form[at : at + _PART] for form in lower for at in range(len(form) - _PART + 1)
        )

    def clean(self, text: str) -> str:
        """The text without the secrets."""
        if self._pattern is None:
            return text
        text = self._pattern.sub(HIDDEN, text)
        return self._without_parts(text) if self._parts else text

    def _without_parts(self, text: str) -> str:
        lower = text.translate(_LOWER)  # as long as the text, which str.lower need not be
        found = [at for at in range(len(text)) if lower[at : at + _PART] in self._parts]
        kept: list[str] = []
        end = 0
        for at in found:
            if not kept or at > end:
                kept += (text[end:at], HIDDEN)
            end = at + _PART
        return "".join((*kept, text[end:]))


def _within_base64(raw: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """What base64 has of it wherever it stands in what was encoded, such as `user:secret`."""
    for before in range(3):
        whole = (before + len(raw)) * 8 // 6  # characters that no byte after it changes
        yield encode(bytes(before) + raw).decode()[(before * 8 + 5) // 6 : whole]


def _forms(secret: str) -> Iterator[str]:
    yield secret
    raw = secret.encode(errors="surrogateescape")
    yield from (quote(raw), quote(raw, safe=""), quote_plus(raw))
    if len(secret) >= _SHORTEST:
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(raw).decode().rstrip("=")
            yield from _within_base64(raw, encode)
        yield raw.hex()
    yield repr(raw)[2:-1]
    as_json: Any = (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    yield from (text[1:-1] for text in as_json)
