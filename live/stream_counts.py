"""StreamCounts: what the streams of one exchange have brought, and why connections ended."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from live.events import Dropped


class End(StrEnum):
    """Why a connection ended; also why another one was opened."""

    REFUSED = "refused"  # it could not be opened
    CUT = "cut"  # closed by the exchange, or broken
    NO_PONG = "no_pong"  # nothing came after our ping
    SILENT = "silent"  # no data of any market
    UNANSWERED = "unanswered"  # requests in a row had no answer
    UNREADABLE = "unreadable"  # too many messages in a row could not be read
    TOO_LARGE = "too_large"  # a message larger than any that is known
    UNPROVEN = "unproven"  # the new one of two did not bring what the old one brings
    NOTICE = "notice"  # the exchange said that it will close it
    AGE = "age"  # before the end of its fixed life
    RENEWED = "renewed"  # asked for by the owner
    STOPPED = "stopped"  # by us: nothing is wanted any more
    FAULT = "fault"  # an error of our own


PLANNED: frozenset[End] = frozenset({End.NOTICE, End.AGE, End.RENEWED, End.STOPPED})


@dataclass(slots=True)
class StreamCounts:
    """Counts since the pool was made.

    `messages`, `bytes`: received, those of control included. `data`: events of markets, wanted or
    not. `events`: handed to the owner.
    `unwanted`: events that nobody asked for, or not any more. `left_out`: entries that the parser
    left out, by cause. `owner_errors`: events whose handling raised. `opened`: connections.
    `ended`: by reason, attempts that failed included. `last_failure`: the last of them that was
    not planned, in words.
    """

    messages: int = 0
    bytes: int = 0
    data: int = 0
    events: int = 0
    unreadable: int = 0
    unwanted: int = 0
    owner_errors: int = 0
    opened: int = 0
    pings: int = 0
    requests: int = 0
    left_out: Counter[Dropped] = field(default_factory=Counter)
    ended: Counter[End] = field(default_factory=Counter)
    last_failure: str | None = None

    @property
    def failures(self) -> int:
        """Connections that ended, or could not be opened, and nobody wanted it."""
        return sum(count for end, count in self.ended.items() if end not in PLANNED)

    @property
    def reconnects(self) -> dict[str, int]:
        """Connections that ended and were not just stopped, by reason."""
        return {str(end): count for end, count in self.ended.items() if end is not End.STOPPED}
