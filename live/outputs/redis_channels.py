"""RedisChannels: publishes each data point on the channel of its exchange, type and market."""

import threading
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from live.data_types import MarketDataPoint
from live.outputs.plain_data import encode, native_symbol, plain, time_ms
from live.outputs.sender import BatchSender, Limits, StoreAway
from metrics.outputs import OutputMetrics
from stores.hot.replies import whole_number
from stores.hot.store import HotStore, StoreRefused, StoreUnavailable
from timing.clock import Clock

# Upstash bills each command, and refuses requests of more than 1 MB.
LIMITS: Final = {
    "native": Limits(0.1, 2_000, 1_000_000, 32_000_000),
    "upstash": Limits(1.0, 2_000, 400_000, 32_000_000),
}
MOST_CHANNELS: Final = 20_000  # 2 MB; no process collects so many
_LONGEST: Final = 300_000  # bytes of a message
_OVERHEAD: Final = 250  # bytes of memory for a queued message, beside its text

# publish(channel, message, ...): publishes the messages in order. Returns how many there were.
_PUBLISH: Final = """
for i = 1, #ARGV, 2 do redis.call('PUBLISH', ARGV[i], ARGV[i + 1]) end
return #ARGV / 2
"""

_Message = tuple[str, bytes]  # channel, JSON


class RedisChannels:
    """Output `redis`: channel `live:<exchange>:<type>:<symbol>`, the symbol being the exchange's
    own, with REDIS_PREFIX before it.

    A message is JSON: `publisher` (another one after each restart), `sequence` (from 1 in each
    channel; what is dropped leaves a gap), `exchange`, `type`, `symbol` as it was configured,
    `exchange_symbol`, `time` (UTC ms) and `data`, the point's data with Decimals as texts and
    moments in UTC ms. After a fault of the store a message may come twice.
    """

    def __init__(
        self,
        store: HotStore,
        metrics: OutputMetrics | None = None,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._publish = store.script("publish", _PUBLISH)
        self._publisher = uuid4().hex
        self._begin = f'{{"publisher":"{self._publisher}","sequence":'.encode()
        self._sequences: dict[str, int] = {}
        self._lock = threading.Lock()
        self._sender: BatchSender[_Message] = BatchSender(
            "redis", self._send, limits or LIMITS[store.kind], metrics, clock=clock
        )

    def take(self, point: MarketDataPoint) -> None:
        try:
            channel, rest = self._message(point)
        except Exception as error:  # a user's own data may hold anything
            self._sender.refuse(f"{point.exchange}: {point.symbol}: {point.data_type}: {error}")
            return
        with self._lock:  # so that the queue is in the order of the numbers
            number = self._sequences.get(channel, 0) + 1
            if number == 1 and len(self._sequences) >= MOST_CHANNELS:
                self._sender.refuse(f"{channel}: at most {MOST_CHANNELS} channels in one process")
                return
            self._sequences[channel] = number
            text = b"%b%d,%b" % (self._begin, number, rest)
            self._sender.put((channel, text), len(text) + _OVERHEAD)

    async def run(self) -> None:
        await self._sender.run()

    def status(self) -> dict[str, Any]:
        return self._sender.status()

    def _message(self, point: MarketDataPoint) -> tuple[str, bytes]:
        """The channel, and the message from `exchange` on."""
        kind = point.data_type.value
        native = native_symbol(point)
        text = encode(
            {
                "exchange": point.exchange,
                "type": kind,
                "symbol": point.symbol,
                "exchange_symbol": native,
                "time": time_ms(point.timestamp),
                "data": plain(point.data),
            }
        )
        if len(text) > _LONGEST:
            raise ValueError(f"a message of {len(text)} bytes, at most {_LONGEST} can be published")
        return self._store.channel(f"live:{point.exchange}:{kind}:{native}"), text[1:]

    async def _send(self, messages: Sequence[_Message]) -> int:
        words = [word for message in messages for word in message]
        try:
            return await self._publish.run([], words, reply=whole_number())
        except StoreRefused as error:
            if error.transient:
                raise StoreAway(str(error)) from error
            self._sender.refuse(str(error), len(messages))
            return 0
        except StoreUnavailable as error:
            raise StoreAway(str(error)) from error
