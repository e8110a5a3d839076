"""Pydantic models of the events' data, for the OpenAPI page."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.documents.models import EXAMPLE_MS, TimeMs

Rows = Annotated[list[list[float | None]], Field(description="one array per row, as in columns")]


class DocumentEvent(BaseModel):
    """`event: document`: a document was published."""

    name: str = Field(examples=["4h"])
    version: int = Field(examples=[EXAMPLE_MS])
    as_of: TimeMs
    updated_at: TimeMs
    path: str = Field(description="where to GET it", examples=["/cache/4h"])


class CandlesOfMarket(BaseModel):
    """The rows of one market; the last three are left out where there are none."""

    exchange: str
    symbol: str
    rows: Rows = Field(description="rows that have closed since the version before")
    corrected: Rows = Field(default=[], description="rows told before, as they are now")
    removed: list[int] = Field(default=[], description="open times of rows that are gone")
    gone: bool = Field(default=False, description="the document has this market no more")


class CandlesEvent(BaseModel):
    """`event: candles`: what a version of a document changes in its closed rows."""

    timeframe: str
    version: int
    as_of: TimeMs
    columns: list[str]
    markets: list[CandlesOfMarket]


class JobEvent(BaseModel):
    """`event: job`: a run of a job has come into this state."""

    id: str = Field(examples=["collect:4h"])
    kind: str
    timeframe: str | None
    run: int | None
    state: Literal["queued", "active", "complete", "failed", "aborted"]
    at: TimeMs
    as_of: TimeMs | None = Field(description="of a complete run that publishes")
    error: str | None = Field(description="of a failed run")


class PauseEvent(BaseModel):
    """`event: pause`: an exchange is left alone, begun (again if it lasts longer) or ended."""

    exchange: str
    egress_id: str = Field(description="the address that the exchange does not want to be asked by")
    state: Literal["begun", "ended"]
    at: TimeMs
    until: TimeMs | None
    cause: str | None


class AlertEvent(BaseModel):
    """`event: alert`: something of the providers that an operator should know, once an hour while
    it lasts."""

    alert: Literal["no_living_member", "key_refused", "quarantined"] = Field(
        description="nobody of a chain answers; a key was refused; a value was held back that is"
        " unlikely, and that no second source has told"
    )
    chain: str = Field(examples=["price.aggregate"])
    resource: str | None = Field(description="whose key or value it is; null: the whole chain")
    at: TimeMs
    message: str


class StaleExchange(BaseModel):
    """An exchange that brought nothing, or all of whose markets are carried over."""

    exchange: str
    stale_since: TimeMs | None = Field(description="null: it has no market in the document")
    reason: str | None


class StaleMarket(BaseModel):
    exchange: str
    symbol: str
    stale_since: TimeMs


class RecoveredMarket(BaseModel):
    exchange: str
    symbol: str | None = Field(description="null: the exchange, which had no market before")


class StaleEvent(BaseModel):
    """`event: stale`: all that is carried over in a version of a document, and what no longer is.

    It is told with every version that carries something over, and with the first that does not.
    """

    document: str
    version: int
    as_of: TimeMs
    exchanges: list[StaleExchange]
    markets: list[StaleMarket] = Field(description="without those of whole exchanges")
    recovered: list[RecoveredMarket]


class ResetEvent(BaseModel):
    """`event: reset`: events were missed; read these documents anew. It is told to every listener,
    and the stream goes on behind it."""

    reason: str
    documents: list[str]


EVENTS = (*(DocumentEvent, CandlesEvent, JobEvent, PauseEvent, StaleEvent, AlertEvent, ResetEvent),)
