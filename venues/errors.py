"""Errors of requests to exchanges, one class for each reaction the caller should have.

ExchangeError              one request, or one market's part, failed
├── SourceDown             5xx, broken connection or timeout: retry with backoff
├── BadPayload             unusable answer: retry a few times, then skip the market
├── RateLimited            too many requests: send nothing to this exchange until `until_ms`
├── TooFast                a network in front of the exchange says so: slow down, then retry
├── Banned                 address banned: send nothing until `until_ms`, skip it for this run
├── Restricted             location not served: skip the exchange for this run
├── TurnedAway             a network in front of it serves this address nothing, and nobody says for
│                          how long: skip the exchange for this run, and look again in the next
├── Blocked                refused with 403, 451 or a challenge: skip the market, unless the
│                          exchange's clock is refused as well
├── ClockWrong             its clock cannot be believed: skip the exchange for this run
├── SymbolGone             contract unknown or closed: skip the market
├── WindowRefused          time window not served: narrow it
├── BadRequest             invalid request, our fault: do not retry
├── InternalError          our own code failed on the answer: do not retry
├── ClosingNotKnown        not sent: the exchange's stream will tell the candle's closing
└── GaveUp                 not sent: this run has stopped asking the exchange or endpoint
CollectionFailed           a collection could fetch nothing
"""

from collections.abc import Iterator
from typing import Final

from market.markets import Exchange
from texts.foreign import foreign_text


class ExchangeError(Exception):
    """Base class with the place of the failure; `cause` is text for people, without secrets.

    The cause may quote what the exchange sent, so it is cut and made printable.
    """

    def __init__(
        self,
        cause: str,
        *,
        exchange: Exchange,
        endpoint: str = "",
        market: str | None = None,
        status: int | None = None,
    ) -> None:
        self.cause = cause = foreign_text(cause)
        self.exchange = exchange
        self.endpoint = endpoint
        self.market = market
        self.status = status
        super().__init__(cause)

    def __str__(self) -> str:
        parts = (self.exchange, self.endpoint, self.market)
        where = " ".join(foreign_text(str(part), 100) for part in parts if part)
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{where}: {self.cause}{status}"


class SourceDown(ExchangeError):
    """5xx, a broken connection or a timeout; retry with backoff."""

    is_late = False  # a timeout


class BadPayload(ExchangeError):
    """The answer is not valid data for the request: unreadable, of wrong types, or impossible."""


class _Timed(ExchangeError):
    """A state that ends at `until_ms`, by this machine's wall clock."""

    def __init__(
        self,
        cause: str,
        *,
        until_ms: int,
        exchange: Exchange,
        endpoint: str = "",
        market: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(cause, exchange=exchange, endpoint=endpoint, market=market, status=status)
        self.until_ms = until_ms


class RateLimited(_Timed):
    """Too many requests; send no other before `until_ms`."""

    by_network = False  # refused by a content network, whose limit is not the exchange's


class TooFast(ExchangeError):
    """A content network, not the exchange's own limit, refuses our pace; the client slows down."""


class Banned(_Timed):
    """The address is banned until `until_ms`; further requests prolong the ban."""


class Restricted(ExchangeError):
    """The exchange does not serve this location; waiting does not help."""


class TurnedAway(ExchangeError):
    """Refused by a network in front of the exchange, its clock too, though the exchange is not
    known to ban addresses so. Nobody says for how long."""


class Blocked(ExchangeError):
    """Refused by a firewall, by location or by a challenge page; the exchange's clock tells
    whether that concerns one market or the exchange."""


class ClockWrong(ExchangeError):
    """The exchange's clock contradicts what is known of the time; `cause` says by how much."""


class SymbolGone(ExchangeError):
    """The contract is unknown, delisted or closed."""


class WindowRefused(ExchangeError):
    """The window begins before the history that the exchange still serves."""


class BadRequest(ExchangeError):
    """The exchange rejects the request as invalid."""


class InternalError(ExchangeError):
    """An exception that nobody expected, raised while the answer was read or used."""


class ClosingNotKnown(ExchangeError):
    """Not sent: a candle has closed, and the closing event of its stream has not come yet."""


class GaveUp(ExchangeError):
    """Not sent: the run has stopped asking this exchange or endpoint; `cause` says why."""


class CollectionFailed(Exception):
    """No data could be fetched; the message gives the cause for each exchange."""


def _leaves(kind: type[ExchangeError]) -> Iterator[type[ExchangeError]]:
    """The classes that requests raise, in the order of this file."""
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from _leaves(each)


# The errors of requests that were sent, as the metrics count them.
_NOT_SENT: Final = (ClosingNotKnown, GaveUp)
ERROR_KINDS: Final = tuple(
    kind.__name__ for kind in _leaves(ExchangeError) if kind not in _NOT_SENT
)
