"""The exchanges' own addresses over real HTTP: what is passed through, shared and refused."""

import pytest

from tests.fixtures.api import ServedApi, StartApi, get
from tests.fixtures.simulator import Simulator

KLINES = "/fapi/v1/klines?symbol=BTCUSDT&interval=1h&limit=3"


def asked(simulator: Simulator) -> int:
    """How many requests the simulator has answered."""
    return int(simulator.stats()["requests"]["total"])


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, simulator: Simulator) -> ServedApi:
    base = {f"{each}_base_url": simulator.base_url for each in ("binance", "bybit")}
    return await start_api(redis_url=redis_url, **base, facade="on")


async def test_what_it_is_asked_is_told_as_the_exchange_tells_it(
    api: ServedApi, simulator: Simulator
) -> None:
    for path in (KLINES, "/fapi/v1/klines?symbol=NONE&interval=1h"):
        status, headers, body = await get(api, f"/binance{path}")
        told_status, _, told = simulator.full("GET", path)
        assert (status, body) == (told_status, told)
        assert headers["x-perpcache"] == "pass; age=0"
        assert int(headers["x-mbx-used-weight-1m"]) >= 1
