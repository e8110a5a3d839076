"""A member that lives again serves within 90 s, whatever kept it out and wherever it stands."""

from typing import Any, Final

import pytest

from providers.resources import Level
from tests.providers.recovery.driving import World
from tests.providers.recovery.outages import SMALL, living, put_out, served_after

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
_COLLECTED: Final = ("binance", "binance_usdm", "bybit")


async def _until_just_probed(world: World) -> None:
    """To the worst moment to live again: everybody's probe has failed now."""
    for _ in range(100):
        before = len(world.attempts)
        await world.pass_time(1)
        if len(world.attempts) - before > 3:
            return
    raise AssertionError("nobody was probed")


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
    rows = await living(world, (*SMALL, *(_COLLECTED if limited else ())))
    await world.fault(**rule)
    out = await put_out(world, rows)
    assert {each.level for each in out} == set(Level)
    assert len(out) > 0.9 * len(rows), {each.id for each in rows} - {each.id for each in out}
    for _ in range(minutes * 4):
        await world.pass_time(15)
    if "retry_after" not in rule:
        await _until_just_probed(world)
    await world.revive()
    served = await served_after(world, rows)
    assert {each.id for each in rows} - served.keys() == set()
    assert (await world.wrongs()) == {"asked_while_suspended": {}, "limits_broken": {}}
