"""Range requests for one range of bytes (RFC 9110, 14): which part of a file is asked for."""

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(rb"^bytes\s*=\s*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))\s*$", re.I)


class Part(NamedTuple):
    """The bytes [start, end) of a file."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """The range begins behind the end of the file, or is empty: the answer is a 416."""


def asked_part(value: bytes | None, length: int) -> Part | None:
    """The part for a Range header; None for the whole file, as for headers that are malformed or
    name several ranges, which a server may ignore. Raises Unsatisfiable."""
    found = None if value is None else _RANGE.match(value)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        count = int(suffix)
        if not count or not length:
            raise Unsatisfiable
        return Part(max(0, length - count), length)
    start = int(first)
    if last is not None and int(last) < start:
        return None  # malformed
    if start >= length:
        raise Unsatisfiable
    return Part(start, length if last is None else min(int(last) + 1, length))
