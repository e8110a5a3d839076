"""Fixtures: simulated providers, and an API that asks them."""

import pytest

from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.simulator import Simulator, StartSimulator

TOKEN = "t0ken"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def imitated(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(providers=True, binance=5, bybit=5)


@pytest.fixture
async def provider_api(
    redis_url: str, database_url: str, imitated: Simulator, start_api: StartApi
) -> ServedApi:
    return await start_api(
        redis_url=redis_url,
        dsn=database_url,
        providers_base_url=imitated.base_url,
        api_token=TOKEN,
    )
