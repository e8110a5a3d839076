"""Ten faults of a running service, each caused for real: shown within 5 s by GET /status and on the
page in a browser, in words that say what to do, and told once, once more, and at their end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from live.silence import SHORTEST_S
from status.low_disks import host_name
from tests.fixtures.browser import Opened, browser, opened
from tests.fixtures.disk import MakeDisk, fill
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.fixtures.upstash import OwnValkey
from tests.notify.receiver import Receiver, receiving
from tests.notify.told import told

SECRET: Final = "crons"
SHOWN_S: Final = 5.0
HISTORY_LATE_S: Final = 4.0
MARKS: Final = ("begun", "again", "over")
DISK: Final = f"disk_nearly_full:{host_name()}"
# What each says, and what it says to do.
WORDS: Final = {
    "exchange_paused:binance": ("paused for", "unpause binance"),
    "exchange_banned:bybit": ("has banned this address", "lower RATE_FRACTION"),
    "exchange_absent:bybit": ("bybit brought nothing", "this host reaches the exchange"),
    "markets_stale:documents": ("carried over", "See which exchange failed"),
    "schedule_failing:funds": ("the source is gone", "/api/workers/funds/run-now"),
    "chain_dead:gas.bitcoin": ("nobody of the chain", "providers probe gas.bitcoin"),
    "streams_unproven:binance": ("are silent", "the live process runs"),
    "history_behind:history": ("wait to be recorded", "the database takes writes"),
    "store_away:hot": ("does not answer", "Start the server of REDIS_URL"),
    DISK: ("free of 67.1 MB (limit 10.0 MB)", f"Make room on {host_name()}"),
}
SCHEDULE: Final = """
from pathlib import Path

from perpcache.workers import Context, schedule


@schedule(every="1s", attempts=1)
async def funds(job: Context) -> None:
    if Path("broken").exists():
        raise RuntimeError("the source is gone")
"""


def break_schedule(folder: Path) -> None:
    (folder / "broken").touch()


def mend_schedule(folder: Path) -> None:
    (folder / "broken").unlink()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def notified(receiver: Receiver) -> dict[str, str]:
    """Settings by which all is told soon, each thing in a message of its own."""
    return {
        "NOTIFY_URLS": receiver.url,
        "NOTIFY_AFTER_S": "0",
        "NOTIFY_AGAIN_S": "1",
        "NOTIFY_OVER_S": "0",
        "NOTIFY_DIGEST": "60",
        "INSTALLATION_ID": "live-1",
    }


class Page:
    """What the page shows, and what was told."""

    def __init__(self, service: Service, receiver: Receiver, opened: Opened | None = None) -> None:
        """`opened`: the page in a browser, on which all has to be seen, too."""
        self._service = service
        self._receiver = receiver
        self._opened = opened
        self.problems: dict[str, Any] = {}

    async def look(self) -> dict[str, Any]:
        answer = await self._service.get("/status")
        self.problems = {each["id"]: each for each in answer["problems"]}
        return self.problems

    async def shows(self, ids: Collection[str], within_s: float = SHOWN_S) -> None:
        """All of these, each with its words, within the time."""

        async def all_there() -> bool:
            return set(ids) <= set(await self.look())

        await asyncio.gather(
            until(all_there, within_s, lambda: self._all(ids)),
            *(self._is_seen(each, within_s) for each in ids),
        )
        for each in ids:
            text, todo = WORDS[each]
            assert text in self.problems[each]["text"], self.problems[each]
            assert todo in self.problems[each]["todo"], self.problems[each]

    async def _is_seen(self, id_: str, within_s: float) -> None:
        if self._opened is not None:
            seen = self._opened.page.locator(".problem")
            for words in WORDS[id_]:
                seen = seen.filter(has_text=words)
            await seen.first.wait_for(timeout=within_s * 1000)

    async def shows_none(self, ids: Collection[str], within_s: float = SHOWN_S) -> None:
        async def none_there() -> bool:
            return not set(ids) & set(await self.look())

        await until(none_there, within_s, lambda: self._all(ids))

    async def is_calm(self) -> None:
        """Nothing is wrong any more, and what was wrong at the start is told to be over."""

        async def calm() -> bool:
            found = told(self._receiver)
            begun = {each for each, mark in found if mark == "begun"}
            return not await self.look() and all(found[each, "over"] for each in begun)

        await until(calm, 60, lambda: self._all(()))
        self._receiver.taken.clear()

    async def are_told(self, ids: Collection[str], mark: str) -> None:
        """All of these, with this mark."""

        async def all_told() -> bool:
            found = told(self._receiver)
            return all(found[each, mark] for each in ids)

        await until(all_told, 60, lambda: self._all(ids))

    def has_told_once(self, ids: Collection[str]) -> None:
        """Of each of these the beginning, that it lasts and the end, and nothing twice."""
        found = {each: count for each, count in told(self._receiver).items() if each[0] in ids}
        assert found == {(each, mark): 1 for each in ids for mark in MARKS}

    def _all(self, ids: Collection[str]) -> str:
        shown = [f"{each['id']}: {each['text']}" for each in self.problems.values()]
        shown.insert(0, f"{sorted(set(ids) - set(self.problems))} not shown, but")
        return "\n".join([*shown, "told:", *map(str, told(self._receiver).items())])


@contextlib.asynccontextmanager
async def in_browser(service: Service) -> AsyncIterator[Opened]:
    """The page of the service, with what is wrong now."""
    async with browser() as launched, opened(launched, service.address) as found:
        await found.goto("#/now")
        # What the API cannot answer while a store is away.
        found.expect("status of 503")
        yield found


async def update_funding(service: Service) -> None:
    path = "/api/v1/internal/update-fr"
    await service.ended(await service.post(path, Authorization=f"Bearer {SECRET}"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", ["status", pytest.param("page", marks=pytest.mark.slow)])
async def test_faults_of_exchanges_and_providers(
    where: str,
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    receiver: Receiver,
) -> None:
    exchanges = start_simulator(binance=4, bybit=4, providers=True)
    settings = service_settings(
        exchanges,
        LIVE="off",
        PROVIDERS="on",
        PROVIDERS_BASE_URL=exchanges.base_url,
        CRON_SECRET=SECRET,
        FR_REFRESH_ON_START="false",
        DISK_FREE_MIN="0",
        **notified(receiver),
    )
    service = await start_service(**settings)
    async with contextlib.AsyncExitStack() as windows:
        window = await windows.enter_async_context(in_browser(service)) if where == "page" else None
        await check_exchanges_and_providers(service, exchanges, Page(service, receiver, window))


async def check_exchanges_and_providers(service: Service, exchanges: Simulator, page: Page) -> None:
    await page.shows_none(WORDS)

    # All providers are down, and Bybit has no rates.
    exchanges.post("/sim/providers/faults", {"class": "status", "status": 503})
    exchanges.post("/sim/faults", {"kind": "html_200", "exchange": "bybit", "endpoint": "funding"})
    status, _ = await service.answer("/api/gas/bitcoin")
    assert status == 503
    await page.shows(["chain_dead:gas.bitcoin"])
    await service.collect("4h")
    await update_funding(service)
    await page.shows(["exchange_absent:bybit"])
    exchanges.delete("/sim/faults")
    # After one market each, Binance is asked too often and Bybit bans this address.
    klines = {"kind": "status", "endpoint": "klines", "after": 1}
    exchanges.post(
        "/sim/faults",
        [
            {**klines, "exchange": "binance", "status": 429, "retry_after": 300},
            {**klines, "exchange": "bybit", "status": 403},
        ],
    )
    await service.collect("4h")
    found = [
        "chain_dead:gas.bitcoin",
        "exchange_absent:bybit",
        "exchange_paused:binance",
        "exchange_banned:bybit",
        "markets_stale:documents",
    ]
    await page.shows(found)
    await page.are_told(found, "begun")
    await page.are_told(found, "again")

    for place in ("/sim/faults", "/sim/providers/faults"):
        exchanges.delete(place)
    exchanges.post("/sim/limits/reset")  # the ban is over
    for exchange in ("binance", "bybit"):
        await service.delete(f"/exchanges/{exchange}/pause")
    await page.shows_none(["exchange_paused:binance", "exchange_banned:bybit"])
    await update_funding(service)
    await service.collect("4h")

    async def answered() -> bool:
        return (await service.answer("/api/gas/bitcoin"))[0] == 200

    await until(answered)
    await page.shows_none(found)
    await page.are_told(found, "over")
    page.has_told_once(found)


@pytest.mark.parametrize(
    "command",
    ["worker", *(pytest.param(name, marks=pytest.mark.slow) for name in ("live", "beat"))],
)
async def test_a_disk_of_another_host(
    command: str,
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    receiver: Receiver,
    make_disk: MakeDisk,
) -> None:
    disk, exchanges = make_disk(64), start_simulator(binance=1, bybit=1)
    streams = exchanges.base_url.replace("http", "ws", 1)
    given = {"DISK_FREE_MIN": "10MB", "SCHEDULES": "on", **notified(receiver)}
    settings = service_settings(exchanges, BINANCE_WS_URL=streams, BYBIT_WS_URL=streams, **given)
    page = Page(await start_service("api", **settings), receiver)
    other = await start_service(command, wait=False, **settings, DATA_DIR=str(disk))
    await other.until_said("")  # it has begun
    await page.shows_none([DISK])
    filler = fill(disk)
    await other.until_said("disk_nearly_full")
    await page.shows([DISK])
    await page.are_told([DISK], "again")
    filler.unlink()
    await page.shows_none([DISK])
    await page.are_told([DISK], "over")
    page.has_told_once([DISK])
    assert other.said("disk_has_room")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_faults_of_schedules_streams_and_stores(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    receiver: Receiver,
    own_valkey: Callable[..., OwnValkey],
    database_url: str,
    data_dir: Path,
) -> None:
    # So many that three seconds without a message mean something.
    exchanges, store = start_simulator(binance=60, bybit=2), own_valkey()
    (data_dir / "plugin.py").write_text(SCHEDULE)
    streams = exchanges.base_url.replace("http", "ws", 1)
    settings = service_settings(
        exchanges,
        REDIS_URL=store.url,
        LIVE="on",
        BINANCE_WS_URL=streams,
        BYBIT_WS_URL=streams,
        SCHEDULES="on",
        WORKERS="plugin",
        HISTORY_LATE_S=f"{HISTORY_LATE_S:g}",
        DISK_FREE_MIN="0",
        **notified(receiver),
    )
    service = await start_service(**settings)
    async with in_browser(service) as window:
        await check_schedules_streams_and_stores(
            service, exchanges, Page(service, receiver, window), store, database_url, data_dir
        )


async def check_schedules_streams_and_stores(
    service: Service,
    exchanges: Simulator,
    page: Page,
    store: OwnValkey,
    database_url: str,
    folder: Path,
) -> None:
    await service.collect("4h")

    async def streams_flow() -> bool:
        feed = (await service.get("/status"))["exchanges"]["binance"]["feed"]
        return bool(feed and feed["messages_per_s"])

    await until(streams_flow)
    await page.is_calm()
    found = ["schedule_failing:funds", "streams_unproven:binance", "history_behind:history"]
    database = await asyncpg.connect(database_url)
    try:
        async with database.transaction():
            # The record's table is locked: nothing that is published from now on is recorded.
            await database.execute("LOCK TABLE history_publishes")
            break_schedule(folder)
            await page.shows(["schedule_failing:funds"])
            stall = {"kind": "stream_stall", "exchange": "binance", "seconds": 2}
            exchanges.post("/sim/faults", stall)
            await page.shows(["streams_unproven:binance"], SHORTEST_S + SHOWN_S)
            await service.collect("4h")
            await page.shows(found, HISTORY_LATE_S + SHOWN_S)
            for mark in ("begun", "again"):
                await page.are_told(found, mark)
            mend_schedule(folder)
            exchanges.delete("/sim/faults")
    finally:
        await database.close()
    # The record catches up after the lock is gone, and the streams after what is left of the stall.
    await page.shows_none(found, 60)
    await page.are_told(found, "over")
    page.has_told_once(found)

    store.pause()
    await page.shows(["store_away:hot"])
    await page.are_told(["store_away:hot"], "again")
    store.resume()
    await page.shows_none(["store_away:hot"])
    await page.are_told(["store_away:hot"], "over")
    page.has_told_once(["store_away:hot"])
