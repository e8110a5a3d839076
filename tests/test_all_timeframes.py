"""A POST for all timeframes to a running service: one job, and the documents of TIMEFRAMES."""

from tests.fixtures.numbers import Numbers
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import StartSimulator


async def test_one_post_brings_the_documents_of_the_setting(
    start_simulator: StartSimulator, start_service: StartService, service_settings: ServiceSettings
) -> None:
    simulator = start_simulator(binance=2, bybit=2)
    service = await start_service(**service_settings(simulator, TIMEFRAMES="8h,5M"))
    await service.funding_ready()
    _, told = await service.answer("/cache/8h")
    assert told["detail"].endswith('{"timeframe":"all"} with all others')

    asked = await service.post("/get-market-data", {"timeframe": "all"})
    assert (asked["id"], asked["timeframe"]) == ("collect:all", "all")
    assert asked["produces"] == ["5m", "4h", "8h"]
    last = await service.ended(asked)
    assert last["result"]["markets"] == 4
    listed = (await service.get("/cache"))["documents"]
    made = {entry["name"]: entry["document"] for entry in listed if entry["document"]}
    assert set(made) == {"5m", "4h", "8h", "global_fr", "overview"}
    for name in asked["produces"]:
        document = await service.get(f"/cache/{name}")
        assert len(document["markets"]) == 4
        assert document["as_of"] == made[name]["as_of"]
    # No other timeframe is made, and the job of all is not what makes it here.
    status, told = await service.answer("/cache/1h")
    assert (status, '"all"' in told["detail"]) == (404, False)

    # A timeframe of its own is another job, whatever the setting says.
    await service.collect("1h")
    jobs = {job["id"]: job for job in (await service.get("/jobs"))["jobs"]}
    assert jobs["collect:all"]["last"] == last
    assert jobs["collect:1h"]["produces"] == ["1h"]
    assert (await service.get("/cache/1h"))["timeframe"] == "1h"

    async def counted() -> bool:
        numbers = Numbers(await service.text("/metrics"))
        run = {"job_id": "collect:all", "outcome": "complete"}
        return numbers.of("perpcache_job_runs_total", **run) == 1

    await until(counted)
    assert (await service.until_ready("ready"))["parts"]["worker"] == "ok"
