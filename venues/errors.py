"""What can go wrong between us and an exchange, told apart by what the caller should do.

ExchangeError              one request, or one market's part, did not succeed
├── SourceDown             no usable sign of life (5xx, reset, deadline): ask again, with backoff
├── BadPayload             not what was asked for: ask a little more, then leave it
├── RateLimited            too fast: ask nothing of this exchange until `until_ms`
├── Banned                 shut out: ask nothing until `until_ms`, leave it for this run
├── Restricted             refused to this place: leave the exchange for this run
├── SymbolGone             no such contract (any more): leave the market
├── WindowRefused          the time window is not served: narrow it
├── BadRequest             asked wrongly, our fault: do not repeat
└── GaveUp                 not asked, as this run has left the exchange alone
CollectionFailed           a whole collection that could fetch nothing
"""

from market.markets import Exchange


class ExchangeError(Exception):
    """Carries where it happened; `cause` is for people and never holds a secret."""

    def __init__(
        self,
        cause: str,
        *,
        exchange: Exchange,
        endpoint: str = "",
        market: str | None = None,
        status: int | None = None,
    ) -> None:
        self.cause = cause
        self.exchange = exchange
        self.endpoint = endpoint
        self.market = market
        self.status = status
        super().__init__(cause)

    def __str__(self) -> str:
        where = " ".join(str(part) for part in (self.exchange, self.endpoint, self.market) if part)
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{where}: {self.cause}{status}"


class SourceDown(ExchangeError):
    """5xx, a broken connection, a deadline passed: worth another try with backoff."""


class BadPayload(ExchangeError):
    """The answer cannot be what was asked for: unreadable, of wrong types, or nonsense."""


class _Timed(ExchangeError):
    """Something that ends at a known instant of this machine's wall clock."""

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
    """Too many requests; no further one before `until_ms`."""


class Banned(_Timed):
    """The address is shut out until `until_ms`; asking on makes it longer."""


class Restricted(ExchangeError):
    """The exchange does not serve this place; waiting does not help."""


class SymbolGone(ExchangeError):
    """The contract does not exist (any more), or is closed."""


class WindowRefused(ExchangeError):
    """The exchange does not keep what the window begins with."""


class BadRequest(ExchangeError):
    """The exchange says that the request is wrong."""


class GaveUp(ExchangeError):
    """Not asked: the run has left this exchange alone; `cause` says why."""


class CollectionFailed(Exception):
    """Nothing at all could be fetched; the message holds the cause for each exchange."""
