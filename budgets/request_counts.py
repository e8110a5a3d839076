"""Counts of requests, retries and time lost on failed requests, for one job or client."""

from dataclasses import dataclass, field

from market.markets import Exchange
from metrics.exchanges import ExchangeMetrics
from venues.errors import ExchangeError
from venues.venue import Endpoint, Request


@dataclass(slots=True)
class RequestCounts:
    """`requests` sent, `retries` among them, and seconds lost on failures by endpoint.

    `header_time_ms`: the time by the headers of each exchange's last answer to a question for the
    time, in whole seconds; None if they did not tell it.
    """

    requests: int = 0
    retries: int = 0
    lost_s: dict[tuple[Exchange, Endpoint], float] = field(default_factory=dict)
    header_time_ms: dict[Exchange, int | None] = field(default_factory=dict)
    metrics: ExchangeMetrics | None = None  # also counts failures and retries

    def add_lost_time(self, request: Request, waited_s: float) -> None:
        where = request.exchange, request.endpoint
        self.lost_s[where] = self.lost_s.get(where, 0.0) + waited_s

    def failed(self, exchange: Exchange, error: ExchangeError) -> None:
        if self.metrics is not None:
            self.metrics.failed(exchange, type(error).__name__)

    def retried(self, request: Request) -> None:
        self.retries += 1
        if self.metrics is not None:
            self.metrics.retried(request.exchange, request.endpoint)

    def clock_read(self, exchange: Exchange, offset_s: float) -> None:
        """An exchange's clock was read; it is `offset_s` ahead of this machine's."""
        if self.metrics is not None:
            self.metrics.clock_read(exchange, offset_s)
