"""An hour of faults: no wrong value, no limit broken, nobody asked who is out, answers in time."""

import pytest

from providers.errors import ErrorClass
from tests.fixtures.simulator import StartSimulator
from tests.providers.hour.plan import PHASE_S
from tests.providers.hour.run import open_hour

MET = {None, *map(ErrorClass, ("transient", "rate_limited", "bad_payload"))}


@pytest.mark.parametrize(
    ("seed", "phases"),
    [
        (1, 3),
        pytest.param(2, 3600 // PHASE_S, marks=(pytest.mark.slow, pytest.mark.timeout(600))),
    ],
)
async def test_one_living_member_answers_truly_whatever_happens_to_the_others(
    seed: int,
    phases: int,
    redis_url: str,
    start_simulator: StartSimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speed = 10.0
    world = start_simulator(providers=True, binance=3, bybit=3, speed=speed, seed=seed)
    async with open_hour(
        *(redis_url, world.base_url, monkeypatch), seed=seed, speed=speed, phases=phases
    ) as hour:
        await hour.run()
    assert not hour.violations, "\n".join(hour.violations)
    # It was worth it: everybody was asked, most answers were new, and faults were met.
    fresh = sum(count for what, count in hour.counts.items() if what.endswith("fresh"))
    assert fresh > 15 * phases * 3
    assert {each.attempt.error_class for each in hour.watch.told} >= MET
