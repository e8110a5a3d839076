"""At real speed: members of several chains go down and return, and each serves within 90 s."""

import asyncio
import time
from typing import Any, Final

import aiohttp
import pytest

from config import load_settings
from providers import assets, registry
from providers.opening import open_chains
from providers.resources import Resource
from stores.hot.redis_client import NativeStore
from tests.fixtures.simulator import StartSimulator
from tests.providers.recovery.driving import answered_by

BOUND_S: Final = 90.0
_DOWN_S: Final = 50.0  # so that most of them are in the middle of a pause between two probes
# By member of five chains: what happens to it. None of them shares a host with another.
_FAULTS: Final[dict[str, dict[str, Any]]] = {
    "price.spot/kraken": {"class": "status", "status": 503},
    "price.spot/coinbase": {"class": "rate_limited"},
    "price.aggregate/coinlore": {"class": "hang", "seconds_each": 4},
    "price.aggregate/dia": {"class": "bad_payload", "variant": "types"},
    "sentiment.market/fng": {"class": "truncated"},
    "gas.bitcoin/blockstream": {"class": "reset"},
    "balance.ethereum/routescan": {"class": "rate_limited", "retry_after": 45},
    "rpc.hyperevm/rpc.hyperliquid.xyz": {"class": "challenge"},
    "rpc.bsc/bsc-dataseed.bnbchain.org": {"class": "status", "status": 500},
}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_members_of_several_chains_come_back_within_90_s(
    redis_url: str, start_simulator: StartSimulator
) -> None:
    simulator = start_simulator(providers=True, binance=3, bybit=3)
    settings = load_settings(redis_url=redis_url, providers_base_url=simulator.base_url)
    rows = registry.load(settings)
    members = [each for each in rows.resources if each.id in _FAULTS]
    assert len(members) == len(_FAULTS)
    store = NativeStore(redis_url, client_name="test")
    stop = asyncio.Event()
    async with (
        aiohttp.ClientSession() as http,
        open_chains(*(settings, store, rows, assets.load()), environ={}) as chains,
    ):

        async def one(row: Resource) -> float:
            """Goes down, is asked until it is out, and returns; how long it took to serve."""
            host = row.url.split("/")[2]
            rule = {"host": host, **_FAULTS[row.id]}
            async with http.post(f"{simulator.base_url}/sim/providers/faults", json=rule) as told:
                (added,) = await told.json()
            down_s = time.monotonic() + _DOWN_S
            while time.monotonic() < down_s:
                assert await answered_by(chains, row) is not None
                await asyncio.sleep(1.1)
            gone = f"{simulator.base_url}/sim/providers/faults?number={added['number']}"
            async with http.delete(gone) as told:
                assert told.status == 200
            began_s = time.monotonic()
            while await answered_by(chains, row) is not None:
                assert time.monotonic() - began_s <= BOUND_S, row.id
                await asyncio.sleep(0.5)
            return time.monotonic() - began_s

        probing = asyncio.create_task(chains.probes.run(stop))
        try:
            took_s = await asyncio.gather(*map(one, members))
        finally:
            stop.set()
            await probing
            await store.aclose()
    assert max(took_s) <= BOUND_S
    # They were out indeed: all but one whose stated pause was over wait for a probe.
    assert sum(each > 1 for each in took_s) >= len(members) - 1
