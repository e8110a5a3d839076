"""What a receiver was told of problems, one by one or as a digest."""

import re
from collections import Counter
from typing import Final

from tests.notify.receiver import Receiver

# `[still critical] live-1: exchange banned: binance`, and the lines of a digest:
# `- [over] exchange banned: binance: binance has banned …`.
_TITLE: Final = re.compile(r"\[(?P<mark>[a-z ]+)\] [\w.-]+: (?P<name>[a-z ]+(?:: \S+)?)$")
_LINE: Final = re.compile(
    r"^- \[(?P<mark>[a-z ]+)\] (?P<name>[a-z ]+: [^\s:]+): (?P<text>.+)$", re.MULTILINE
)


def id_of(name: str) -> str:
    """`exchange_banned:binance` for `exchange banned: binance`."""
    kind, _, subject = name.partition(": ")
    return f"{kind.replace(' ', '_')}:{subject}"


def told(receiver: Receiver) -> Counter[tuple[str, str]]:
    """How often it was told of each problem, by id, with each mark: `begun`, `again`, `over`."""
    found: Counter[tuple[str, str]] = Counter()
    for body in receiver.taken:
        one = _TITLE.match(body["title"])
        for match in [one] if one is not None else _LINE.finditer(body["message"]):
            found[id_of(match["name"]), _mark(match["mark"])] += 1
    return found


def _mark(mark: str) -> str:
    if mark.startswith("still "):
        return "again"
    return mark if mark == "over" or mark.startswith("now ") else "begun"
