"""Health and readiness, served for real, over both kinds of store."""

from typing import Any, Literal

from stores.hot.beats import beat
from tests.fixtures.api import StartApi, ask


async def test_ready_names_the_job_whose_last_run_failed(
    start_api: StartApi, store_settings: dict[str, Any], database_url: str
) -> None:
    """Exchanges that cannot be reached are known by the runs that they fail."""
    api = await start_api(**store_settings, dsn=database_url)
    await beat(api.store, "w1")

    async def ready() -> tuple[int, str, str]:
        status, _, answer = await ask(api, "GET", "/ready")
        return status, answer["status"], answer["parts"]["jobs"]

    async def end(state: Literal["complete", "failed"], error: str | None) -> None:
        await api.queue.request("collect:4h")
        async with api.lease() as lease:
            job = await api.queue.take(lease)
            assert job is not None
            await api.queue.finish(job, lease, state=state, as_of_ms=None, result=None, error=error)

    assert await ready() == (200, "ready", "ok")
    await end("failed", "binance: unreachable; bybit: unreachable")
    status, word, told = await ready()
    assert (status, word) == (200, "degraded")
    assert "collect:4h failed at 20" in told
    assert told.endswith("Z: binance: unreachable; bybit: unreachable")
    # Asked for again it is still how things are, until a run is complete.
    await api.queue.request("collect:4h")
    assert (await ready())[1] == "degraded"
    await end("complete", None)
    assert await ready() == (200, "ready", "ok")


async def test_health_and_readiness(start_api: StartApi, store_settings: dict[str, Any]) -> None:
    api = await start_api(**store_settings)
    assert (await ask(api, "GET", "/health"))[2] == {"status": "ok"}
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"]) == (503, "unavailable")
    assert answer["detail"].startswith("worker: none")
    await beat(api.store, "w1")
    meta = await api.publish("4h", b'{"x":1}', 7)
    status, _, answer = await ask(api, "GET", "/ready")
    assert (status, answer["status"]) == (200, "degraded")
    assert answer["parts"]["store"] == answer["parts"]["worker"] == "ok"
    assert answer["parts"]["database"].startswith("away: ")
    assert answer["caches"]["8h"] is None
    age_s = answer["caches"]["4h"].pop("age_s")
    assert 0 <= age_s < 20
    assert answer["caches"]["4h"] == {
        "version": 7,
        "as_of": 7,
        "updated_at": meta.updated_at_ms,
        "bytes": meta.stored_bytes,
    }
