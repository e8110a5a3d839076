"""Pydantic models of what GET /status tells of an exchange."""

from typing import Annotated

from pydantic import BaseModel, Field

from api.documents.models import TimeMs

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(description="seconds")]


class ListStatus(BaseModel):
    """An exchange's list of markets, as the database has it."""

    discovered_at: TimeMs | None = Field(description="null: never")
    markets: Count
    enabled: Count
    failures: Count = Field(description="how often in a row it could not be read")


class Pause(BaseModel):
    """The exchange is asked for nothing from the address EGRESS_ID."""

    left_s: Seconds
    cause: str


class Lags(BaseModel):
    """How late the newest closing events came after their close; null: none has come."""

    p50: int | None = Field(description="milliseconds")
    p99: int | None = Field(description="milliseconds")


class LastCloseStatus(BaseModel):
    """The newest close of a 5m candle, counted in markets."""

    close: TimeMs
    without_soon: Count | None = Field(description="without a closing event 2.5 s after the close")
    without: Count | None = Field(description="without one after the grace; null: not over yet")
    silent: Count = Field(description="those of `without` of which no message came at all")


class FeedStatus(BaseModel):
    """The streams of an exchange, as told by the process that feeds them."""

    holder: str = Field(description="the process that holds the exchange's lease")
    at: TimeMs = Field(description="when it told this, by the exchange's clock")
    clock_offset_ms: int = Field(description="how far that clock is ahead of the process's machine")
    connections: Count
    streams: Count = Field(description="acknowledged by the exchange")
    markets: Count = Field(description="followed")
    messages_per_s: float
    lag_ms: Lags
    unproven: dict[str, Count] = Field(
        description="markets whose candles need REST, by reason; silent is normal"
    )
    reconnects: dict[str, Count] = Field(
        description="connections that ended since the feed began, by reason"
    )
    last_failure: str | None
    refused: Count = Field(description="streams that the exchange does not have")
    log_restarts: Count = Field(description="how often the log of candles began anew")
    last_close: LastCloseStatus | None


class ClosingStatus(BaseModel):
    """The closing journal of the last complete pass over all timeframes: by which way the newest
    closed 5m candles came, counted in markets."""

    close: TimeMs = Field(description="of the newest candle that had closed at `as_of`")
    as_of: TimeMs = Field(description="the exchanges' time when the pass began to read")
    finished_at: TimeMs = Field(description="when all documents were published")
    stream: Count = Field(description="closed by the exchange's stream, and proven")
    rest: Count
    lacking: Count = Field(description="not known, or the exchange has none")
    taken: Count = Field(description="needed no request for candles")
    repaired: Count = Field(description="asked for although the exchange was fed")
    sampled: Count = Field(description="asked for to compare streams with REST")
    compared: Count = Field(description="candles compared with REST since the worker began")
    differing: Count = Field(description="those of them that differed")


class ClockStatus(BaseModel):
    """How far the exchange's clock is ahead of the machine that read it."""

    offset_ms: int
    at: TimeMs = Field(description="when it was read last")


class BudgetStatus(BaseModel):
    """Of one limit of the exchange: our part (RATE_FRACTION) and what all processes at this address
    have taken of it, in blocks, a little ahead of their requests."""

    quantity: Count = Field(description="in the units of the limit: requests, or their weight")
    window_s: Seconds
    used: Count
    left: Count


class FailingMarkets(BaseModel):
    """Markets that the newest run of a collection could not fetch."""

    count: Count
    names: list[str] = Field(description="some of them")
    job: str
    at: TimeMs = Field(description="when that run ended")


class ExchangeStatus(BaseModel):
    """What is known of one exchange."""

    list: ListStatus | None = Field(description="null while the database is away")
    pause: Pause | None = Field(description="null: it is not paused, or the hot store is away")
    clock: ClockStatus | None = Field(
        description="null: no stream tells, and the last runs of jobs do not"
    )
    budgets: dict[str, BudgetStatus] | None = Field(
        description="by limit; null while the hot store is away"
    )
    last_success: TimeMs | None = Field(
        description="when the last run ended that brought something of it; null: none is known"
    )
    failing_markets: FailingMarkets | None = Field(
        description="null: no collection has completed, or the hot store is away"
    )
    is_live: bool = Field(description="whether LIVE has its streams fed")
    feed: FeedStatus | None = Field(description="null while no process feeds it")
    closing: ClosingStatus | None = Field(
        description="null without LIVE, or while no pass has completed"
    )
