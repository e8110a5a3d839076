"""OKX's error answers: codes, their HTTP statuses and texts."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from simulator.answers import Answer, dump


class Error(NamedTuple):
    status: int
    text: str


# The texts of the general codes are those of the documentation, in part shortened.
ERRORS: Final[Mapping[int, Error]] = {
    50001: Error(503, "Service temporarily unavailable. Please try again later."),
    50004: Error(400, "API endpoint request timeout. Please check the request."),
    50005: Error(410, "API is offline or unavailable."),
    50011: Error(429, "Too Many Requests"),
    50013: Error(429, "Systems are busy. Please try again later."),
    50014: Error(400, "Parameter cannot be empty."),
    50015: Error(400, "Either parameter must be given."),
    50016: Error(400, "Parameter does not match."),
    50024: Error(200, "Parameters cannot be given at the same time."),
    50025: Error(200, "Parameter count exceeds the limit."),
    50026: Error(500, "System error. Please try again later."),
    50040: Error(200, "Operation is too frequent. Please try again later."),
    50061: Error(200, "Order rate limit reached."),
    51000: Error(400, "Parameter error"),
    51001: Error(200, "Instrument ID does not exist"),
}
# What a server that fails with this status says; statuses without a code answer with a page.
_BY_STATUS: Final = {400: 50004, 410: 50005, 429: 50011, 500: 50026, 503: 50001}


def error(code: int, text: str = "", status: int | None = None) -> Answer:
    """An error in the exchange's envelope; by default with the documented status and text."""
    known = ERRORS.get(code, Error(200, "error"))
    body = dump({"code": str(code), "msg": text or known.text, "data": []})
    return Answer(known.status if status is None else status, body)


def by_status(status: int) -> Answer | None:
    """The error of a server that fails with this status, or None if it is not in the envelope."""
    code = _BY_STATUS.get(status)
    return None if code is None else error(code, status=status)
