"""Reads bodies of JSON-RPC: what is no JSON, too much, or cannot be told on is refused."""

import json
import math
from dataclasses import dataclass
from typing import Any, Final

from providers.rpc.methods import Refused

LARGEST_BODY: Final = 128 * 1024
MOST_CALLS: Final = 20  # of one batch
INVALID: Final = -32600
_NO_JSON: Final = -32700
_DEEPEST: Final = 32  # no call has lists in lists in lists
_LONGEST_ID: Final = 256


@dataclass(frozen=True, slots=True)
class Calls:
    """`single`: one that stands alone, and is no batch. What they are was not looked at."""

    calls: tuple[Any, ...]
    single: bool


def read_calls(body: bytes) -> Calls:
    """Raises Refused."""
    if len(body) > LARGEST_BODY:
        raise Refused(INVALID, f"the body is larger than {LARGEST_BODY} bytes")
    try:
        told = json.loads(body, parse_constant=_no_number, parse_float=_number)
        json.dumps(told, ensure_ascii=False).encode()  # text that is no Unicode cannot be told on
    except (ValueError, RecursionError):
        raise Refused(_NO_JSON, "it is not JSON") from None
    if _is_deeper(told, _DEEPEST):
        raise Refused(INVALID, f"it is nested more than {_DEEPEST} deep")
    if not isinstance(told, list):
        return Calls((told,), single=True)
    if not 1 <= len(told) <= MOST_CALLS:
        raise Refused(INVALID, f"a batch has 1 to {MOST_CALLS} calls")
    return Calls(tuple(told), single=False)


def calls_in(body: bytes) -> int:
    """How many calls are answered."""
    try:
        return len(read_calls(body).calls)
    except Refused:
        return 0


def is_id(value: Any) -> bool:
    """Text, a whole number or null, as JSON-RPC has it."""
    if isinstance(value, str):
        return len(value) <= _LONGEST_ID
    return value is None or (type(value) is int and abs(value) < 2**63)


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError("a number is too great")
    return found


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
