"""Hides known secrets in a text, in the forms in which libraries repeat them."""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "***"
# Shorter ones are parts of ordinary words, and no line would be readable.
_SHORTEST: Final = 4


class Redactor:
    """Replaces secrets of four characters and more by ***: as they are, percent-encoded, base64,
    as Python and JSON write them, in upper and lower case."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _SHORTEST}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None
        )

    def clean(self, text: str) -> str:
        """The text without the secrets."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    raw = secret.encode(errors="surrogateescape")
    yield from (quote(raw), quote(raw, safe=""), quote_plus(raw))
    if len(secret) >= _SHORTEST:
        for encoded in (b64encode(raw), urlsafe_b64encode(raw)):
            yield encoded.decode().rstrip("=")
    yield repr(raw)[2:-1]
    as_json: Any = (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret))
    yield from (text[1:-1] for text in as_json)
