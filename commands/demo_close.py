"""The demo's close: a 5m candle forms, the exchanges' streams close it, and documents have it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from rich.progress import Progress

from commands.console import Console
from commands.demo_client import (
    compact_table,
    ended_job,
    get,
    post,
    progress_bars,
    run_job,
    short_number,
    utc,
)
from commands.errors import DemoFailed

_MINUTE_MS: Final = 60_000
_STEP_MS: Final = 5 * _MINUTE_MS
_DAY_MS: Final = 24 * 60 * _MINUTE_MS
# Long enough for every market that is traded at all to have been heard of before its candle opens.
_BEFORE_MS: Final = 15 * _MINUTE_MS
# Exchange time passes in steps that are shorter than any silence that would count as a fault.
_PASS_MS: Final = 10_000
# So long before the close the first pass begins, by how long another job took. It has to be over by
# then; if it is not, the next close is shown.
_LEAD_OF_A_JOB: Final = 3
_LEAST_LEAD_MS: Final = 6_000
_GRACE_MS: Final = 80_000  # after it no closing event is waited for any more
_LOOK_MS: Final = 200
_SUBSCRIBED_S: Final = 30.0
_ARRIVES_S: Final = 25.0
_SHOWN: Final = 8
_PERIODS: Final = ("5m", "5")  # of 5m candles, as the exchanges spell it
_ALL: Final = {"timeframe": "all"}

_Rows = dict[str, Mapping[str, Any]]  # by "exchange:symbol"


def begin_ms(now_ms: int) -> int:
    """When the simulated time begins: shortly before a midnight, at which all timeframes close. It
    is another time than this machine's: the service never sees the two agree, so it believes the
    exchanges when their time is moved."""
    return now_ms // _DAY_MS * _DAY_MS - _BEFORE_MS


@dataclass(frozen=True, slots=True)
class Simulated:
    """The simulator's own routes: its time, and what it was asked for."""

    client: aiohttp.ClientSession

    async def now_ms(self) -> int:
        return int((await get(self.client, "/sim/clock"))["now_ms"])

    async def pass_to(self, moment_ms: int) -> None:
        """Lets the exchanges' time pass at once; their streams tell what happens on the way."""
        while (left_ms := moment_ms - await self.now_ms()) > 0:
            await post(self.client, "/sim/clock", json={"pass_ms": min(left_ms, _PASS_MS)})

    async def streams(self) -> dict[str, int]:
        """How many streams are subscribed to, by exchange."""
        found = (await get(self.client, "/sim/stats"))["streams"]
        return {exchange: each["streams"] for exchange, each in found.items() if each["streams"]}

    async def forget_requests(self) -> None:
        await post(self.client, "/sim/stats/reset", json={})

    async def asked_for_candles(self) -> set[str]:
        """The markets whose 5m candles were asked for since `forget_requests`."""
        requests = (await get(self.client, "/sim/requests"))["requests"]
        return {
            f"{each['exchange']}:{each['symbol']}"
            for each in requests
            if each["endpoint"] == "klines" and each["period"] in _PERIODS
        }


@dataclass(slots=True)
class _Close:
    """What a close brought. `forming`: the candles shortly before it; `closed`: those that the
    document has, `after_s`: since how long after the close; `asked`: whose candles were asked for;
    `documents`: what was published."""

    close_ms: int
    forming: _Rows
    closed: _Rows = field(default_factory=dict)
    after_s: dict[str, float] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    documents: list[str] = field(default_factory=list)


async def show_a_close(
    console: Console, client: aiohttp.ClientSession, exchanges: Simulated, job_s: float
) -> None:
    """Waits for a 5m candle that is closed by streams, and shows it. `job_s`: how long a job of
    all markets takes here. Raises DemoFailed."""
    console.print(
        "\n[bold]Live:[/bold] the exchanges push every candle while it forms, and say when it is "
        "closed.\nAt a close one POST, as a cron line sends it, brings them into the documents."
    )
    await _until_subscribed(exchanges, len((await get(client, "/cache/4h"))["markets"]))
    lead_ms = max(_LEAST_LEAD_MS, round(_LEAD_OF_A_JOB * 1000 * job_s))
    midnight_ms = -(-await exchanges.now_ms() // _DAY_MS) * _DAY_MS
    await exchanges.pass_to(midnight_ms - lead_ms)
    with progress_bars(console) as bars:
        await run_job(bars, client, "5m candles of today", "/get-market-data", json=_ALL)
        close = await _wait_for_close(bars, client, exchanges, lead_ms)
    await _follow(client, exchanges, close)
    _print_close(console, close)


async def _until_subscribed(exchanges: Simulated, markets: int) -> None:
    try:
        async with asyncio.timeout(_SUBSCRIBED_S):
            while sum((await exchanges.streams()).values()) < markets:  # noqa: ASYNC110 - of others
                await asyncio.sleep(_LOOK_MS / 1000)
    except TimeoutError:
        raise DemoFailed(
            f"the live feed has not subscribed to the streams of {markets} markets after "
            f"{_SUBSCRIBED_S:.0f} s: {await exchanges.streams() or 'to none'}"
        ) from None


async def _wait_for_close(
    bars: Progress, client: aiohttp.ClientSession, exchanges: Simulated, lead_ms: int
) -> _Close:
    """Takes note of the candles that form, and waits until they have closed."""
    document = await get(client, "/cache/5m?limit=1")
    close_ms = -(-(await exchanges.now_ms() + _LOOK_MS) // _STEP_MS) * _STEP_MS
    await exchanges.pass_to(close_ms - lead_ms)
    await exchanges.forget_requests()
    left_ms = in_all_ms = close_ms - await exchanges.now_ms()
    bar = bars.add_task(f"waiting for the close at {utc(close_ms)}", total=round(in_all_ms / 1000))
    while left_ms > 0:
        await asyncio.sleep(min(left_ms, _LOOK_MS) / 1000)
        left_ms = close_ms - await exchanges.now_ms()
        bars.update(bar, completed=round((in_all_ms - max(left_ms, 0)) / 1000))
    return _Close(close_ms, _rows(document, close_ms - _STEP_MS))


async def _follow(client: aiohttp.ClientSession, exchanges: Simulated, close: _Close) -> None:
    """Starts a pass as a cron line would, and takes note of what each version brings."""
    events = {"event": "document", "timeframe": "5m"}
    forever = aiohttp.ClientTimeout(total=None)
    try:
        async with client.get("/events", params=events, timeout=forever) as stream:
            asked = await post(client, "/get-market-data", 202, json=_ALL)
            async with asyncio.timeout(_ARRIVES_S):
                async for line in stream.content:
                    if line.startswith(b"data:") and await _has_read(client, exchanges, close):
                        break
        if close.forming.keys() - close.closed.keys():
            await exchanges.pass_to(close.close_ms + _GRACE_MS)
        async with asyncio.timeout(_ARRIVES_S):
            result = await ended_job(client, "close", asked)
    except TimeoutError:
        raise DemoFailed(await _what_lacks(client, exchanges, close)) from None
    await _has_read(client, exchanges, close)
    close.asked = await exchanges.asked_for_candles()
    close.documents = result["documents"]
    if not result.get("streamed") or not close.closed.keys() - close.asked:
        raise DemoFailed(await _what_lacks(client, exchanges, close))


async def _has_read(client: aiohttp.ClientSession, exchanges: Simulated, close: _Close) -> bool:
    """Reads the document; whether it has any candle that closed then."""
    document = await get(client, "/cache/5m?closed=true&limit=1")
    after_s = (await exchanges.now_ms() - close.close_ms) / 1000
    for market, row in _rows(document, close.close_ms - _STEP_MS).items():
        if market not in close.closed:
            close.closed[market], close.after_s[market] = row, after_s
    return bool(close.closed)


def _rows(document: Any, open_ms: int) -> _Rows:
    """The candles of a document that opened then."""
    columns = document["columns"]
    return {
        f"{market['exchange']}:{market['symbol']}": row
        for market in document["markets"]
        for row in (dict(zip(columns, values, strict=True)) for values in market["rows"])
        if row["open_time"] == open_ms
    }


async def _what_lacks(client: aiohttp.ClientSession, exchanges: Simulated, close: _Close) -> str:
    last = (await get(client, "/jobs/collect:all"))["last"]
    return (
        f"no candle that closed at {utc(close.close_ms)} came into the document 5m by a stream in "
        f"{_ARRIVES_S:.0f} s.\n{len(close.closed)} of {len(close.forming)} candles are there; "
        f"{len(await exchanges.asked_for_candles())} markets were asked for theirs.\n"
        f"Streams that are subscribed to: {await exchanges.streams() or 'none'}.\n"
        f"The job's last run: {last}"
    )


def _print_close(console: Console, close: _Close) -> None:
    table = compact_table(
        f"5m candles of {utc(close.close_ms - _STEP_MS, '%H:%M')} UTC: forming, and closed",
        ("forming", "closed", "volume", "after", "by"),
    )
    asked = sorted(close.closed.keys() & close.asked)
    streamed = sorted(close.closed.keys() - close.asked)
    some = streamed[:: max(1, len(streamed) // _SHOWN)]
    for market in sorted([*some[: _SHOWN - len(asked[:2])], *asked[:2]]):
        before, row = close.forming.get(market), close.closed[market]
        table.add_row(
            market,
            f"{before['close']:.5g}" if before else "-",
            f"{row['close']:.5g}",
            short_number(row["volume"]),
            f"{close.after_s[market]:.1f} s",
            "request" if market in close.asked else "stream",
        )
    console.print(table)
    soonest_s = min(close.after_s[market] for market in streamed)
    lines = [
        f"{len(streamed)} of {len(close.closed)} closed candles came by streams, the first "
        f"{soonest_s:.1f} s after the close.",
        f"The exchanges were asked for the candles of {len(asked)} markets"
        + (": those without trades, and checks." if asked else "."),
        f"Published with them: {' '.join(close.documents)}.",
    ]
    console.print("\n".join(lines), highlight=False)
