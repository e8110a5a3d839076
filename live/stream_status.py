"""The state of the streams of one exchange, for status pages and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection. `state`: opening, subscribing, delivering or closing; `streams`: names that
    the exchange has acknowledged, `proven`: topics of which data has come. Ages in seconds, None
    before the first message."""

    epoch: int | None  # None while it is being opened
    route: str
    state: str
    age_s: float
    streams: int
    proven: int
    messages: int
    last_message_age_s: float | None
    last_data_age_s: float | None


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """All connections of one exchange, and the counts since the pool was opened.

    `reconnects` and `left_out` by cause; `refused`: the exchange's reason by topic name;
    `without_data`: names that it has acknowledged and sent nothing of, by a look once a minute;
    `failures`: tries since a connection last brought data for a minute.
    """

    exchange: str
    connections: Sequence[ConnectionStatus]
    topics: int
    streams: int
    proven: int
    messages: int
    bytes: int
    events: int
    unreadable: int
    unwanted: int
    owner_errors: int
    left_out: Mapping[str, int]
    opened: int
    reconnects: Mapping[str, int]
    failures: int
    last_failure: str | None
    last_message_age_s: float | None
    refused: Mapping[str, str]
    without_data: Sequence[str]
