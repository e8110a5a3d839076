"""Alerts in the log of events: each cause once, whichever process tells it."""

import asyncio

from providers.alert_log import NOTED, AlertLog, read_of_alerts
from providers.attempts import Alert
from stores.hot.event_log import EventLog
from stores.hot.read import read
from stores.hot.redis_client import NativeStore

SILENT = Alert("no_living_member", "gas.bitcoin", None, "nobody of 3 answers")
HELD = Alert("quarantined", "price.spot", "price.spot/kraken", "btc: 1000 times the last one")


async def test_a_cause_is_told_once_by_all_processes(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test")
    first, second = AlertLog(store), AlertLog(store)
    for alert in (SILENT, HELD, SILENT):
        first.note(alert)
    await first.tell()
    second.note(HELD)
    await second.tell()
    entries = (await EventLog(store).read(None, {})).entries
    await store.aclose()
    assert [
        (entry.fields[b"alert"], entry.fields[b"chain"], entry.fields[b"resource"])
        for entry in entries
    ] == [
        (b"no_living_member", b"gas.bitcoin", b""),
        (b"quarantined", b"price.spot", b"price.spot/kraken"),
    ]


async def test_what_came_before_the_end_is_told(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test")
    alerts, stop = AlertLog(store), asyncio.Event()
    running = asyncio.create_task(alerts.run(stop))
    alerts.note(SILENT)
    await asyncio.sleep(0)
    alerts.note(HELD)
    stop.set()
    await running
    entries = (await EventLog(store).read(None, {})).entries
    await store.aclose()
    assert [entry.fields[b"chain"] for entry in entries] == [b"gas.bitcoin", b"price.spot"]


async def test_it_is_noted_for_an_hour(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test")
    alerts = AlertLog(store)
    for alert in (SILENT, HELD, HELD):
        alerts.note(alert)
    await alerts.tell()
    noted = await read(store, read_of_alerts())
    left_ms = await store.execute("PTTL", NOTED)
    await store.execute("SET", NOTED, "of others")
    of_others = await read(store, read_of_alerts())
    await store.aclose()
    silent, held = noted
    assert (silent.kind, silent.chain, silent.resource) == ("no_living_member", "gas.bitcoin", None)
    assert (held.resource, held.message) == ("price.spot/kraken", HELD.message)
    assert 0 < held.since_ms <= held.last_ms
    assert 3_500_000 < left_ms <= 3_600_000
    assert of_others == []
