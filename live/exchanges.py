"""The exchanges whose streams are read: their facts, by name."""

from collections.abc import Mapping
from typing import Final

from live import binance, bybit, okx
from live.stream_venue import StreamVenue

STREAM_VENUES: Final[Mapping[str, StreamVenue]] = {
    module.STREAM_VENUE.exchange: module.STREAM_VENUE for module in (binance, bybit, okx)
}
