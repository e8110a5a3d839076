"""`python -m benchmarks.bare_stream ADDRESS MARKETS HOW`: the least that a reader of candles does.

One WebSocket of aiohttp for each exchange, opened as the live process opens its own, and every
message decoded; nothing is kept. HOW: `checked` by the live process's own reader, `unchecked` by
msgspec alone into the fields of the candle. MARKETS is a file of lines `exchange symbol`. It runs
until it is ended.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import uvloop

from commands.runtime import tune_garbage_collection
from live.dialing import LARGEST_MESSAGE
from live.exchanges import STREAM_VENUES
from live.stream_venue import Channel, StreamVenue, Topic
from market.timeframes import Timeframe

_REQUESTS_APART_S: Final = 0.3
_PING_EVERY_S: Final = 20.0


class _Kline(msgspec.Struct, gc=False):
    t: int
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    x: bool
    q: str


class _Event(msgspec.Struct, gc=False):
    E: int
    s: str
    k: _Kline


class _Binance(msgspec.Struct, gc=False):
    data: _Event


class _Row(msgspec.Struct, gc=False):
    start: int
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool


class _Bybit(msgspec.Struct, gc=False):
    topic: str
    data: list[_Row]
    ts: int


class _Okx(msgspec.Struct, gc=False):
    arg: dict[str, str]
    data: list[tuple[str, str, str, str, str, str, str, str, str]]


_DECODERS: Final[Mapping[str, Callable[[bytes], object]]] = {
    "binance": msgspec.json.Decoder(_Binance).decode,
    "bybit": msgspec.json.Decoder(_Bybit).decode,
    "okx": msgspec.json.Decoder(_Okx).decode,
}


async def follow(
    venue: StreamVenue, address: str, symbols: Sequence[str], decode: Callable[[bytes], object]
) -> None:
    """Reads the 5m candles of these markets over one connection until it ends."""
    topics = [Topic(Channel.CANDLE, symbol, str(Timeframe.M5)) for symbol in symbols]
    names = [venue.name(topic) for topic in topics]
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            address + venue.route(topics[0]),
            decode_text=False,
            compress=0,
            max_msg_size=LARGEST_MESSAGE,
        ) as socket,
    ):
        keeping = asyncio.create_task(_keep(venue, socket, names))
        try:
            await _read(socket, decode)
        finally:
            keeping.cancel()


async def _keep(
    venue: StreamVenue, socket: "aiohttp.ClientWebSocketResponse[bool]", names: Sequence[str]
) -> None:
    most = venue.names_a_request
    for number, start in enumerate(range(0, len(names), most)):
        await socket.send_str(venue.subscribe(names[start : start + most], number + 1))
        await asyncio.sleep(_REQUESTS_APART_S)
    while venue.ping is not None:
        await socket.send_str(venue.ping)
        await asyncio.sleep(_PING_EVERY_S)


async def _read(
    socket: "aiohttp.ClientWebSocketResponse[bool]", decode: Callable[[bytes], object]
) -> None:
    while True:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise RuntimeError(f"the stream ended: {message.type.name}")
        try:
            decode(message.data)
        except msgspec.DecodeError:  # an answer to a request, or a pong
            continue


async def run(address: str, markets: Path, how: str) -> None:
    """Follows all markets of the file."""
    symbols: dict[str, list[str]] = {}
    for line in markets.read_text().splitlines():  # noqa: ASYNC240 - nothing runs yet
        exchange, symbol = line.split()
        symbols.setdefault(exchange, []).append(symbol)
    tune_garbage_collection()
    async with asyncio.TaskGroup() as running:
        for exchange, listed in symbols.items():
            venue = STREAM_VENUES[exchange]
            decode = venue.read if how == "checked" else _DECODERS[exchange]
            running.create_task(follow(venue, address, listed, decode))
        print(f"listening on {address.replace('ws', 'http', 1)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
