"""Binance's error answers: 429, 418, and the bodies of server errors."""

from typing import Final

from simulator.answers import Answer, dump, error_page
from simulator.binance.limits import BinanceLimitSettings
from simulator.limits import Refusal

# The three texts of a 503.
_UNAVAILABLE: Final = {
    "unknown": (-1000, "Unknown error, please check your request or try again later."),
    "unavailable": (-1000, "Service Unavailable."),
    "overload": (-1008, "Server is currently overloaded with other requests."),
}
_RESTRICTED: Final = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you "
    "received this message in error."
)


def refusal(refusal: Refusal, client: str, settings: BinanceLimitSettings) -> Answer:
    """The answer for a 429 or 418, with the exchange's text."""
    if refusal.status == 418:
        text = (
            f"Way too many requests; IP({client}) banned until {refusal.until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
    else:
        text = (
            "Too many requests; current limit of IP is 2400 requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
    answer = Answer(refusal.status, dump({"code": -1003, "msg": text}))
    if settings.retry_after:
        answer.headers["Retry-After"] = str(refusal.retry_after_s)
    return answer


def bad_status(status: int, variant: str) -> Answer:
    """Any other HTTP error; `variant` chooses among the texts of a 503."""
    if status == 451:
        return Answer(451, dump({"code": 0, "msg": _RESTRICTED}))
    if status == 408:
        message = "Timeout waiting for response from backend server."
        return Answer(408, dump({"code": -1007, "msg": message}))
    if status == 500 or (status == 503 and variant in _UNAVAILABLE):
        code, message = _UNAVAILABLE["unknown" if status == 500 else variant]
        return Answer(status, dump({"code": code, "msg": message}))
    return error_page(status)
