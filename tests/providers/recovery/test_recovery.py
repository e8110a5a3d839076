"""A member that lives again serves within 90 s, whatever kept it out and wherever it stands."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from providers.resources import Level, Resource
from tests.fixtures.simulator import StartSimulator
from tests.providers.recovery.driving import World, open_world

BOUND_S: Final = 90
# How they fail; a pause that is stated is over before the provider lives again.
_OUTAGES: Final[dict[str, dict[str, Any]]] = {
    "down": {"class": "status", "status": 503},
    "reset": {"class": "reset"},
    "silent": {"class": "hang", "seconds_each": 0.05},
    "truncated": {"class": "truncated"},
    "a web page": {"class": "challenge"},
    "impossible values": {"class": "bad_payload", "variant": "types"},
    "limited, no time stated": {"class": "rate_limited"},
    "limited, for 40 s": {"class": "rate_limited", "retry_after": 40},
}
# A limit of theirs pauses the collector as well, and a pause of the collector is never tried.
_COLLECTED: Final = ("binance_spot", "binance_usdm", "bybit")
# So few calls an hour that probes may not use one a minute of them.
_SMALL: Final = ("blockcypher",)


@pytest.fixture
async def world(redis_url: str, start_simulator: StartSimulator) -> AsyncIterator[World]:
    simulator = start_simulator(providers=True, binance=3, bybit=3, frozen=True)
    async with open_world(redis_url, simulator.base_url) as opened:
        yield opened


async def _living(world: World, but: tuple[str, ...]) -> list[Resource]:
    """Those that answer while nothing is wrong; two feeds wall servers off."""
    rows = [each for each in world.keyless() if each.provider.id not in but]
    silent = {each.id for each in rows}
    for _ in range(4):  # several rows share a provider's budget
        asked = [each for each in rows if each.id in silent]
        told = await asyncio.gather(*map(world.ask, asked))
        silent = {row.id for row, why in zip(asked, told, strict=True) if why is not None}
        await world.pass_time(20)
    assert silent == {"news/rss_theblock", "news/rss_blockworks"}
    return [each for each in rows if each.id not in silent]


async def _put_out(world: World, rows: list[Resource]) -> list[Resource]:
    """Asks until nobody is asked any more; who is out then."""
    for _ in range(60):
        out = {each.id for each in await world.out(rows)}
        left = [each for each in rows if each.id not in out]
        if not left:
            break
        await asyncio.gather(*map(world.ask, left))
        await world.pass_time(7)
    return await world.out(rows)


async def _until_just_probed(world: World) -> None:
    """To the worst moment to live again: everybody's probe has failed now."""
    for _ in range(100):
        before = len(world.attempts)
        await world.pass_time(1)
        if len(world.attempts) - before > 3:
            return
    raise AssertionError("nobody was probed")


async def _served_after(world: World, rows: list[Resource]) -> dict[str, int]:
    """By id, how long after they live again each one serves: one question is sent to it once it is
    not out, and is answered. Of a feed, whose limit is one request a minute, the request that finds
    it out is the one."""
    served: dict[str, int] = {}
    first = len(world.attempts)
    for second in range(BOUND_S + 1):
        waiting = [each for each in rows if each.id not in served]
        out = {each.id for each in await world.out(waiting)}
        told = {each.resource.id for each in world.attempts[first:] if each.error_class is None}
        for each in waiting:
            found = each.id in told and each.chain == "news"
            if found or (each.id not in out and await world.ask(each) is None):
                served[each.id] = second
        if len(served) == len(rows):
            break
        await world.pass_time(1)
    return served


@pytest.mark.parametrize(
    ("outage", "minutes"),
    [
        ("down", 1),
        ("limited, no time stated", 20),
        *(pytest.param(each, 20, marks=pytest.mark.slow) for each in _OUTAGES),
    ],
)
async def test_who_lives_again_serves_within_90_s(world: World, outage: str, minutes: int) -> None:
    """20 minutes: as long as breakers and pauses grow."""
    await world.start()
    rule = _OUTAGES[outage]
    limited = rule["class"] == "rate_limited"
    rows = await _living(world, (*_SMALL, *(_COLLECTED if limited else ())))
    await world.fault(**rule)
    out = await _put_out(world, rows)
    assert {each.level for each in out} == set(Level)
    assert len(out) > 0.9 * len(rows), {each.id for each in rows} - {each.id for each in out}
    for _ in range(minutes * 4):
        await world.pass_time(15)
    if "retry_after" not in rule:
        await _until_just_probed(world)
    await world.revive()
    served = await _served_after(world, rows)
    assert {each.id for each in rows} - served.keys() == set()
    assert (await world.wrongs()) == {"asked_while_suspended": {}, "limits_broken": {}}
