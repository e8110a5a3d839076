"""How providers say that one may not ask: words for a spent quota, a limit, and a bad key."""

import re
from typing import Final, Literal

from providers.errors import ErrorClass

Period = Literal["day", "month"]

_SPENT: Final = r"exceed\w*|reached|spent|exhausted|used up"
_PERIOD: Final = r"(?P<period{}>day|daily|month|monthly)"
_QUOTA: Final = re.compile(
    rf"\b(?:{_SPENT})\b.{{0,60}}\b{_PERIOD.format('')}\b"
    rf"|\b{_PERIOD.format(2)}\b.{{0,40}}\b(?:{_SPENT})\b",
    re.IGNORECASE,
)
_CREDITS: Final = re.compile(
    rf"\b(?:credit|point|quota)s?\b.{{0,30}}\b(?:{_SPENT}|insufficient)\b|"
    r"\b(?:no|not enough|insufficient|out of)\b.{0,20}\bcredits\b",
    re.IGNORECASE,
)
# What passes by itself.
TROUBLE: Final = re.compile(
    r"internal (?:server )?error|time[d ]?-? ?out|temporar|try again|please retry|overload|"
    r"unavailable|unable to complete|too busy",
    re.IGNORECASE,
)
LIMITED: Final = re.compile(
    r"rate.?limit|too many|limits? (?:exceeded|reached)|frequency limit|throttl|"
    r"requests? per (?:second|minute)|(?:compute units|capacity).{0,20}second|"
    r"exceed\w*.{0,40}(?:limit|capacity|rate)",
    re.IGNORECASE,
)
KEY: Final = re.compile(
    r"unauthori[sz]ed|authenticat|invalid token|project id|"
    r"(?:invalid|missing|wrong|valid|need|use an?|required?|requires an?)\b.{0,20}\bkey|"
    r"\b(?:api|access|auth)[ _-]?key\b.{0,20}\b(?:invalid|not valid|missing|required|expired|"
    r"disabled|revoked|wrong|incorrect)\b",
    re.IGNORECASE,
)


def refusal_in(text: str) -> ErrorClass | None:
    """What the words of a refusal mean; None where they say nothing that is known."""
    if spent_period(text) is not None:
        return ErrorClass.QUOTA_SPENT
    if LIMITED.search(text):
        return ErrorClass.RATE_LIMITED
    return ErrorClass.KEY_REJECTED if KEY.search(text) else None


def spent_period(text: str) -> Period | None:
    """Whether a text says that a quota is spent, and until when: of the day, or of the month."""
    found = _QUOTA.search(text)
    if found is not None:
        return "month" if (found["period"] or found["period2"]).lower()[0] == "m" else "day"
    return "day" if _CREDITS.search(text) else None
