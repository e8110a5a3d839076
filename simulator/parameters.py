"""Query parameters as the exchanges read them: names and values, checked integers."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

FAR_MS: Final = 10**15
_NUMBER: Final = re.compile(r"[0-9]{1,20}")

Query = Mapping[str, str]


def read(query: str) -> dict[str, str]:
    """The parameters of a raw query string; the last of a repeated one counts."""
    return dict(parse_qsl(query, keep_blank_values=True))


def whole_number(text: str) -> int | None:
    """The integer of 1 to 20 digits in `text`, capped at FAR_MS; None for any other text."""
    return min(int(text), FAR_MS) if _NUMBER.fullmatch(text) else None
