"""Members put out, and how long after they live again each one serves."""

import asyncio
from typing import Final

from providers.resources import Resource
from tests.providers.recovery.driving import World

BOUND_S: Final = 90
# So few calls that there is no room for two probes of each row within 90 s.
SMALL: Final = ("blockcypher", "blockchain_info")


async def living(world: World, but: tuple[str, ...]) -> list[Resource]:
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


async def put_out(world: World, rows: list[Resource]) -> list[Resource]:
    """Asks until nobody is asked any more; who is out then."""
    for _ in range(60):
        out = {each.id for each in await world.out(rows)}
        left = [each for each in rows if each.id not in out]
        if not left:
            break
        await asyncio.gather(*map(world.ask, left))
        await world.pass_time(7)
    return await world.out(rows)


async def served_after(world: World, rows: list[Resource]) -> dict[str, int]:
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
