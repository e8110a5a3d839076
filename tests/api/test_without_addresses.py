"""Errors of stores in answers have no addresses of the stores."""

from status.runs import told_error
from tests.fixtures.api import StartApi, ask


def test_errors_of_exchanges_are_not_those_of_stores() -> None:
    told = "binance time: cannot connect to fapi.binance.com:443: refused"
    assert told_error(told) == told
    assert told_error(None) is None
    assert told_error("redis: Error 1 connecting to valkey:6379.") != told


async def test_no_answer_has_the_address_of_a_store(start_api: StartApi) -> None:
    secret = "hidden-host.invalid"
    api = await start_api(
        redis_url=f"redis://{secret}:6379", dsn=f"postgresql://nobody@{secret}:5432/none"
    )
    for path in ("/cache/4h", "/cache", "/jobs", "/jobs/collect:4h", "/coins", "/ready"):
        status, _, answer = await ask(api, "GET", path)
        assert (status, "hidden" in str(answer)) == (503, False), answer
        assert "known" in str(answer) or "time" in str(answer) or "resolution" in str(answer)
    status, _, answer = await ask(api, "POST", "/get-market-data", {"timeframe": "4h"})
    assert (status, "hidden" in str(answer)) == (503, False)
