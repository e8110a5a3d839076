"""What happens between two closes of a day: to markets, to the stores, and to the process."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from chaos.checks import INTERVALS_MS
from chaos.names import EXCHANGES
from database import Database
from tests.day.day import CLOSE_MS, NOWHERE, Day
from tests.day.faults import Fault

_M5: Final = 300_000
_HISTORIES: Final = (3, 40, 120, 499)
_SHORT_HISTORIES: Final = (3, 15, 40)  # for days with many passes more
_SUBSETS: Final = (
    tuple(INTERVALS_MS), tuple(INTERVALS_MS), ("5m", "1h", "1d"), ("4h", "8h"), ("1h",),
    ("15m", "2h", "6h", "12h"),
)  # fmt: skip
_IMPOSSIBLE: Final = ("high_below_low", "zero_price", "close_above_high", "off_grid", "blank")

Event = Callable[[Day, random.Random], Awaitable[str]]


async def draw_event(day: Day) -> None:
    """One of the events."""
    event = day.chance.choice(_EVENTS)
    day.report.say(f"    event: {await event(day, day.chance)}")


def _market(day: Day) -> tuple[str, str]:
    exchange, symbol = day.chance.choice(sorted(day.required & day.collected)).split(":")
    return exchange, symbol


# --- markets -------------------------------------------------------------------------------------


async def _correction(day: Day, chance: random.Random) -> str:
    """Closed candles change, of one market or of some."""
    done = []
    for _ in range(chance.choice((1, 1, 3))):
        exchange, symbol = _market(day)
        slot_ms = day.close_ms - chance.randint(2, 40) * _M5
        rule = {"kind": "correction", "exchange": exchange, "symbol": symbol, "time": slot_ms}
        status, _, _ = day.exchanges.full("POST", "/sim/faults", json_body=day.named(rule))
        if status == 200:  # 400: the market has no candle there
            day.comparison.corrected(f"{exchange}:{symbol}", slot_ms, day.clock.now_ms)
            done.append(f"{exchange}:{symbol} at {slot_ms}")
    return f"corrected {done}"


async def _impossible(day: Day, chance: random.Random) -> str:
    exchange, symbol = _market(day)
    first_ms = day.close_ms + chance.randint(0, 2) * _M5
    times = [first_ms + place * _M5 for place in range(chance.choice((1, 1, 2, 12)))]
    variant = chance.choice(_IMPOSSIBLE)
    rule = {"kind": "impossible", "exchange": exchange, "symbol": symbol, "times": times}
    day.exchanges.post("/sim/faults", day.named({**rule, "variant": variant}))
    day.comparison.odd.add(f"{exchange}:{symbol}")
    return f"impossible ({variant}) {exchange}:{symbol} at {times[0]} and {len(times) - 1} more"


async def _missing_interest(day: Day, chance: random.Random) -> str:
    exchange, symbol = _market(day)
    times = [day.close_ms + place * _M5 for place in range(chance.randint(0, 3), 5)]
    rule = {"kind": "missing_oi", "exchange": exchange, "symbol": symbol, "times": times}
    day.exchanges.post("/sim/faults", day.named(rule))
    return f"no snapshots of {exchange}:{symbol} at {times}"


async def _listing(day: Day, chance: random.Random) -> str:
    age_ms = chance.choice((0, 60_000, 2_000_000, 40_000_000))
    name = f"NEW{day.close_ms // CLOSE_MS % 100_000}"
    rule = {"kind": "list_new", "exchange": chance.choice(EXCHANGES), "symbol": name}
    (done,) = day.exchanges.post("/sim/faults", {**rule, "age_ms": age_ms})
    day.discover_in = chance.randint(0, 2)
    return f"listed {done['market']}, {age_ms} ms ago"


async def _delisting(day: Day, chance: random.Random) -> str:
    exchange, symbol = _market(day)
    rule = {"kind": "delist", "exchange": exchange, "symbol": symbol}
    day.exchanges.post("/sim/faults", day.named(rule))
    day.discover_in = chance.randint(0, 3)
    # Until it is known, its requests fail.
    day.inflict(Fault("delisted", [], exchange, symbol, closes=day.discover_in + 14))
    return f"delisted {exchange}:{symbol}"


async def relaunch(day: Day) -> None:
    """Another contract gets the symbol of one, at the first moment of the day."""
    exchange, symbol = _market(day)
    flat = day.chance.random() < 0.5
    rule = {"kind": "relaunch", "exchange": exchange, "symbol": symbol, "flat": flat}
    (done,) = day.exchanges.post("/sim/faults", day.named(rule))
    day.discover_in = 0
    day.disturb()
    day.report.say(
        f"    event: relaunched {exchange}:{symbol} at {done['listed_ms']}, flat: {flat}"
    )


# --- the process and its stores ------------------------------------------------------------------


async def _restart(day: Day, chance: random.Random) -> str:
    await day.start()
    return "restarted"


async def _other_settings(day: Day, chance: random.Random) -> str:
    settings = day.settings
    match chance.choice(("history", "timeframes", "limit", "all")):
        case "history":
            settings.history = chance.choice(_SHORT_HISTORIES if day.streamed else _HISTORIES)
        case "timeframes":
            settings.timeframes = chance.choice(_SUBSETS)
        case "limit":
            settings.limit = chance.choice((0, 3, 7))
        case _:
            settings.history, settings.timeframes, settings.limit = (
                day.usual_history,
                _SUBSETS[0],
                0,
            )
    await day.start()
    return f"restarted with {settings}"


async def _usual_settings(day: Day, chance: random.Random) -> str:
    settings = day.settings
    settings.reset(day.usual_history)
    await day.start()
    return f"restarted with {settings}"


def _stored(chance: random.Random) -> str:
    names = (*(f"base:{each}" for each in EXCHANGES), *INTERVALS_MS)
    return f"cache:{chance.choice(names)}"


async def _lost(day: Day, chance: random.Random) -> str:
    key = _stored(chance)
    what = chance.choice(([key], [key, f"{key}:meta"], [f"{key}:chunks"]))
    await day.context.store.execute("DEL", *what)
    day.forget(key)
    return f"lost {what}"


async def _damaged(day: Day, chance: random.Random) -> str:
    key = _stored(chance)
    await day.context.store.execute("SETRANGE", key, chance.randint(0, 3000), "AAAA")
    day.forget(key)
    return f"damaged {key}"


async def _database_away(day: Day, chance: random.Random) -> str:
    if day.database_back_ms:
        return "the database is away already"
    closes = chance.choice((1, 1, 3, 10))
    day.database_back_ms = day.close_ms + closes * CLOSE_MS - 60_000
    day.use_database(Database(NOWHERE))
    return f"the database is away for {closes}"


async def _single(day: Day, chance: random.Random) -> str:
    """A single timeframe shortly before the close."""
    await day.clock.pass_to(day.close_ms - chance.choice((1_000, 20_000, 100_000)))
    job_id = f"collect:{chance.choice(('5m', '15m', '1h', '4h', '1d'))}"
    record: Any = await day.job(job_id)
    return f"{job_id} at {day.clock.now_ms}: {record.state} {record.error or ''}"


async def _again(day: Day, chance: random.Random) -> str:
    """All timeframes shortly before the close."""
    await day.clock.pass_to(day.close_ms - chance.choice((500, 20_000)))
    record: Any = await day.job("collect:all")
    return f"collect:all at {day.clock.now_ms}: {record.state} {record.error or ''}"


_EVENTS: Final[tuple[Event, ...]] = (
    *(_correction, _correction, _impossible, _missing_interest, _listing, _delisting),
    *(_restart, _restart, _other_settings, _usual_settings, _lost, _lost, _damaged, _damaged),
    *(_database_away, _single, _single, _again),
)
