"""GET /health and GET /ready, over HTTP and both kinds of store."""

from typing import Any, Literal

from stores.hot.beats import beat
from tests.fixtures.api import StartApi, ask


async def test_ready_says_that_no_exchange_can_be_reached(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    api = await start_api(**store_settings, dsn=database_url)
    await beat(api.store, "w1")

    async def ready() -> tuple[int, str, str]:
        status, _, answer = await ask(api, "GET", "/ready")
        return status, answer["status"], answer["parts"]["exchanges"]

    async def end(job_id: str, state: Literal["complete", "failed"], error: str | None) -> None:
        await api.queue.request(job_id)
        async with api.lease() as lease:
            job = await api.queue.take(lease)
            assert job is not None
            await api.queue.finish(job, lease, state=state, as_of_ms=None, result=None, error=error)

    well = (200, "ready", "ok")
    assert await ready() == well
    # As the jobs say it: str(ExchangeError), or the exchange and its most frequent reason.
    for cause in (
        "binance time: no answer within 10 s; bybit time: no answer within 10 s",
        "bybit: bybit instruments: no answer within 10 s",
    ):
        await end("collect:4h", "failed", cause)
        status, word, told = await ready()
        assert (status, word) == (200, "degraded")
        assert "the last run of collect:4h failed at 20" in told
        assert told.endswith(f"Z: {cause}")
        # Asked for again it is still how things are.
        await api.queue.request("collect:4h")
        assert (await ready())[1] == "degraded"
        await api.queue.abort("collect:4h")
    # A run that needed them and is complete says that they are back, whichever it was.
    await end("collect:1h", "complete", None)
    assert await ready() == well
    # A failure by other causes says nothing of them.
    for cause in ("redis: OOM command not allowed", "internal error: KeyError: 'binance'", ""):
        await end("collect:1h", "failed", cause)
        assert await ready() == (200, "degraded", "ok")


async def test_health_and_readiness(start_api: StartApi, store_settings: dict[str, Any]) -> None:
    api = await start_api(**store_settings)
    assert (await ask(api, "GET", "/health"))[2] == {"status": "ok"}
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"]) == (503, "unavailable")
    assert answer["detail"].startswith("worker: no heartbeat")
    await beat(api.store, "w1")
    meta = await api.publish("4h", b'{"x":1}', 7)
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"]) == (200, "degraded")
    assert answer["parts"]["store"] == answer["parts"]["worker"] == "ok"
    assert answer["parts"]["database"].startswith("away: ")
    assert answer["caches"]["8h"] is None
    age_s = answer["caches"]["4h"].pop("age_s")
    assert 0 <= age_s < 60
    assert answer["caches"]["4h"] == {
        "version": 7,
        "as_of": 7,
        "updated_at": meta.updated_at_ms,
        "bytes": meta.stored_bytes,
    }
