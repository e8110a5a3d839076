"""Downloads from the simulated archive, over HTTP and into a database: what comes is the truth."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from database import Database, SeriesKey
from history.archive.download import Download, Downloads
from history.archive.download_errors import CannotKeep, HostAway
from history.archive.download_folder import download_folder
from history.archive.host import ArchiveHost
from history.archive.wanted import ArchiveSeries
from market.timeframes import Timeframe
from tests.fixtures.simulator import Simulator
from tests.history.archive.naive_files import NaiveImport, ms
from tests.simulator.faults import fault

NOW_MS = ms("2026-07-10T12:00")
FROM, TO = ms("2026-06-01"), ms("2026-07-10")
CANDLES = ArchiveSeries("candles", "BTCUSDT", Timeframe.H4)
INTEREST = ArchiveSeries("open_interest", "BTCUSDT")
FUNDING = ArchiveSeries("funding", "BTCUSDT")


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 3, "bybit": 0, "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    yield _shared
    _shared.delete("/sim/faults")
    _shared.post("/sim/stats/reset")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    await found.open()
    yield found
    await found.aclose()


class Run:
    """Runs downloads of one simulator into one database."""

    def __init__(self, sim: Simulator, database: Database, folder: Path) -> None:
        self.sim = sim
        self.database = database
        self.folder = folder
        self.take = NaiveImport(database, NOW_MS)
        self.idle_s = 20.0

    async def __call__(
        self, *series: ArchiveSeries, from_ms: int = FROM, to_ms: int = TO, dry_run: bool = False,
        tell: Callable[[Downloads], None] = lambda _: None,
    ) -> Downloads:  # fmt: skip
        host = ArchiveHost(
            self.sim.base_url, self.sim.base_url, lambda _: None, first_pause_s=0.001,
            idle_s=self.idle_s,
        )  # fmt: skip
        with download_folder(self.folder) as folder:
            async with host:
                run = Download(
                    host, self.database, folder, self.take, now_ms=NOW_MS, dry_run=dry_run,
                    tell=tell,
                )  # fmt: skip
                done = await run.run(series, from_ms, to_ms)
            assert [one.name for one in folder.iterdir()] == ["lock"]
        return done

    async def rows(self, key: SeriesKey, from_ms: int, to_ms: int) -> dict[int, list[float]]:
        async with self.database.history.snapshot() as snapshot:
            found = (await snapshot.versions([key], from_ms, to_ms))[key]
        return dict(zip(found.times.tolist(), found.values.tolist(), strict=True))

    def requests(self) -> dict[str, int]:
        """How many requests of each kind the archive has answered, since the last look."""
        found = self.sim.stats()["requests"].get("archive", {})
        self.sim.post("/sim/stats/reset")
        return {kind: sum(counts.values()) for kind, counts in found.items()}


@pytest.fixture
def run(sim: Simulator, database: Database, tmp_path: Path) -> Run:
    return Run(sim, database, tmp_path)


def candles_in_truth(sim: Simulator, from_ms: int, to_ms: int) -> dict[int, list[float]]:
    truth = sim.truth("4h", symbol="BTCUSDT", exchange="binance", as_of=to_ms, candles=400)
    return {row[0]: row[1:7] for row in truth["binance:BTCUSDT"] if from_ms <= row[0] < to_ms}


def interest_in_truth(sim: Simulator, from_ms: int, to_ms: int) -> dict[int, list[float]]:
    truth = sim.truth(
        "5m", symbol="BTCUSDT", exchange="binance", as_of=to_ms + 600_000, candles=2000
    )
    found = truth["binance:BTCUSDT"]
    return {row[0]: [row[7]] for row in found if from_ms <= row[0] < to_ms}


async def test_a_month_and_some_days(run: Run) -> None:
    done = await run(CANDLES, FUNDING)
    assert await run.rows(CANDLES.key, 0, NOW_MS) == candles_in_truth(run.sim, FROM, TO)
    answer = run.sim.get("/sim/funding", symbol="BTCUSDT", exchange="binance")["markets"][0]
    settled = {t: [rate] for t, rate in answer["rows"] if FROM <= t < ms("2026-07-01")}
    assert await run.rows(FUNDING.key, 0, NOW_MS) == settled
    # One monthly file of candles, nine days of July, one month of funding.
    assert (done.imported, done.planned, done.known, done.refused) == (11, 11, 0, [])
    assert list(done.lines()) == ["binance:BTCUSDT funding: the archive has no file of 2026-07 yet"]
    assert run.take.names[0] == "BTCUSDT-4h-2026-06.zip"
    # Listings of three folders; each file with its checksum.
    assert run.requests() == {"listing": 3, "checksum": 11, "klines": 10, "fundingRate": 1}


async def test_open_interest_over_the_change_of_its_labels(run: Run) -> None:
    from_ms, to_ms = ms("2026-06-24"), ms("2026-06-27")
    await run(INTEREST, from_ms=from_ms, to_ms=to_ms)
    found = await run.rows(INTEREST.key, from_ms, to_ms)
    assert len(found) == 3 * 288
    assert found == interest_in_truth(run.sim, from_ms, to_ms)


async def test_a_second_run_asks_little_and_a_replaced_file_comes_again(run: Run) -> None:
    fault(run.sim, "archive_draft", symbol="BTCUSDT", period="2026-06")
    await run(CANDLES)
    truth = candles_in_truth(run.sim, FROM, TO)
    first = min(truth)
    before = await run.rows(CANDLES.key, 0, NOW_MS)
    assert {t for t in truth if before[t] != truth[t]} == {first}
    run.requests()
    done = await run(CANDLES)
    assert (done.imported, done.known, done.planned) == (0, 10, 0)
    assert run.requests() == {"listing": 2}
    run.sim.delete("/sim/faults")  # the file is replaced in place
    done = await run(CANDLES)
    assert (done.imported, done.known) == (1, 9)
    assert run.requests() == {"listing": 2, "checksum": 1, "klines": 1}
    assert await run.rows(CANDLES.key, 0, NOW_MS) == truth


async def test_the_same_file_with_another_etag_is_not_downloaded(run: Run) -> None:
    await run(FUNDING)
    name = "BTCUSDT-fundingRate-2026-06.zip"
    noted = (await run.database.archive_files.find([name]))[name]
    async with asyncio.timeout(30):
        await run.database.archive_files.add(type(noted)(name, noted.sha256, '"x"', 1, 1, 1))
    run.requests()
    done = await run(FUNDING)
    assert (done.imported, done.known) == (0, 1)
    assert run.requests() == {"listing": 1, "checksum": 1}
    assert (await run.database.archive_files.find([name]))[name].etag == noted.etag


async def test_days_stand_in_for_a_month_that_is_short_or_missing(run: Run) -> None:
    for kind in ("archive_half", "archive_missing", "archive_truncated"):
        fault(run.sim, kind, period="2026-06", interval="4h")
        await run.database.history.store([], 1)
        symbol = {"archive_half": "BTCUSDT", "archive_missing": "ETHUSDT"}.get(kind, "SOLUSDT")
        series = ArchiveSeries("candles", symbol, Timeframe.H4)
        done = await run(series, to_ms=ms("2026-07-01"))
        truth = run.sim.truth(
            "4h", symbol=symbol, exchange="binance", as_of=ms("2026-07-01"), candles=181
        )
        rows = truth.get(f"binance:{symbol}", [])
        expected = {row[0]: row[1:7] for row in rows if FROM <= row[0] < ms("2026-07-01")}
        assert await run.rows(series.key, FROM, NOW_MS) == expected
        assert len(done.refused) == (kind == "archive_truncated")
        run.sim.delete("/sim/faults")


async def test_what_is_not_there_is_told(run: Run) -> None:
    fault(run.sim, "archive_missing", endpoint="metrics", period=["2026-06-20", "2026-06-21"])
    done = await run(INTEREST, from_ms=ms("2026-06-19T00:05"), to_ms=ms("2026-06-23"))
    assert list(done.lines()) == [
        "binance:BTCUSDT open_interest: the archive has no file of 2026-06-20 to 2026-06-21"
    ]
    assert (done.imported, done.planned) == (2, 2)
    nobody = ArchiveSeries("candles", "NOBODYUSDT", Timeframe.D1)
    done = await run(nobody, from_ms=ms("2026-07-01"), to_ms=NOW_MS)
    assert list(done.lines()) == [
        "binance:NOBODYUSDT 1d: the archive has no file of 2026-07-01 to 2026-07-07",
        "binance:NOBODYUSDT 1d: the archive has no file of 2026-07-08 to 2026-07-10 yet",
    ]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("archive_checksum", "its sha256 is "),
        ("archive_no_checksum", "the archive has no checksum of it"),
    ],
)
async def test_a_file_that_is_not_its_checksum_s_is_refused(
    run: Run, kind: str, cause: str
) -> None:
    fault(run.sim, kind, period="2026-06-20")
    done = await run(INTEREST, from_ms=ms("2026-06-20T00:05"), to_ms=ms("2026-06-22T00:05"))
    ((name, why),) = done.refused
    assert (name, why.startswith(cause)) == ("BTCUSDT-metrics-2026-06-20.zip", True)
    assert run.take.names == ["BTCUSDT-metrics-2026-06-21.zip"]
    run.sim.delete("/sim/faults")  # it is not noted as imported
    done = await run(INTEREST, from_ms=ms("2026-06-20T00:05"), to_ms=ms("2026-06-22T00:05"))
    assert (done.imported, done.known) == (1, 1)


async def test_passing_faults_are_mended(run: Run) -> None:
    for kind, endpoint, fields in (
        ("status", "metrics", {"status": 503, "count": 2}),
        ("archive_cut", "metrics", {"count": 2}),
        ("archive_cut", "listing", {"count": 2}),
        ("reset", "checksum", {"count": 2}),
        ("status", "checksum", {"status": 429, "retry_after": 0, "count": 1}),
    ):
        fault(run.sim, kind, exchange="archive", endpoint=endpoint, **fields)
    from_ms, to_ms = ms("2026-06-20T00:05"), ms("2026-06-25T00:05")
    done = await run(INTEREST, from_ms=from_ms, to_ms=to_ms)
    assert (done.imported, done.refused) == (5, [])
    assert await run.rows(INTEREST.key, 0, NOW_MS) == interest_in_truth(run.sim, from_ms, to_ms)
    assert run.sim.stats()["faults"] == {"status": 3, "archive_cut": 4, "reset": 2}


async def test_a_file_that_never_comes_is_left_out(run: Run) -> None:
    run.idle_s = 0.2
    fault(run.sim, "archive_cut", endpoint="fundingRate", seconds=60)
    done = await run(FUNDING, CANDLES, from_ms=FROM, to_ms=ms("2026-07-01"))
    ((name, why),) = done.refused
    assert (name, why) == (
        "BTCUSDT-fundingRate-2026-06.zip", "no answer in time, at each of 5 tries"
    )  # fmt: skip
    assert run.take.names == ["BTCUSDT-4h-2026-06.zip"]


async def test_an_archive_that_is_away_ends_the_run(run: Run) -> None:
    fault(run.sim, "status", exchange="archive", endpoint="metrics", status=500)
    with pytest.raises(HostAway, match=r"^HTTP 500, at each of 5 tries$"):
        await run(INTEREST, from_ms=ms("2026-06-01"), to_ms=ms("2026-06-20"))
    run.sim.delete("/sim/faults")
    fault(run.sim, "status", exchange="archive", endpoint="listing", status=403)
    with pytest.raises(HostAway, match="HTTP 403"):
        await run(CANDLES)
    assert run.take.names == []


async def test_a_dry_run_tells_files_and_bytes(run: Run) -> None:
    done = await run(CANDLES, FUNDING, dry_run=True)
    assert (done.planned, done.imported, run.take.names) == (11, 0, [])
    assert run.requests() == {"listing": 3}
    keys = ["monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2026-06.zip",
            "monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-06.zip"]  # fmt: skip
    keys += [f"daily/klines/BTCUSDT/4h/BTCUSDT-4h-2026-07-0{day}.zip" for day in range(1, 10)]
    sizes = [len(run.sim.full("GET", f"/data/futures/um/{key}")[2]) for key in keys]
    assert done.planned_bytes == sum(sizes)


class Killed(BaseException):
    """In the place of a kill: nothing below the test catches it."""


@pytest.mark.parametrize("after", [1, 4, 7])
async def test_a_killed_run_is_resumed(run: Run, after: int) -> None:
    def kill(done: Downloads) -> None:
        if done.imported == after:
            raise Killed

    with pytest.raises(Killed):
        await run(CANDLES, tell=kill)
    (run.folder / "archive-downloads" / "BTCUSDT-4h-2026-07-09.zip").write_bytes(b"half")
    done = await run(CANDLES)
    assert (done.known, done.imported) == (after, 10 - after)
    assert sorted(run.take.names) == sorted(set(run.take.names))  # none came twice
    assert await run.rows(CANDLES.key, 0, NOW_MS) == candles_in_truth(run.sim, FROM, TO)


async def test_several_at_once_and_not_more(run: Run, sim: Simulator) -> None:
    """Four files of three markets are under way, when no answer comes."""
    series = [
        ArchiveSeries("candles", symbol, Timeframe.D1)
        for symbol in ("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT", "DOGEUSDT", "BNBUSDT")
    ]
    fault(sim, "hold", exchange="archive")
    running = asyncio.create_task(run(*series, from_ms=ms("2026-07-05"), to_ms=ms("2026-07-09")))
    held = await asyncio.to_thread(sim.get, "/sim/held", count=5, deadline_s=1)
    assert held == {"held": 4}
    await asyncio.to_thread(sim.delete, "/sim/faults")
    await running


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with download_folder(tmp_path) as folder:
        with (
            pytest.raises(CannotKeep, match="another process downloads"),
            download_folder(tmp_path),
        ):
            pass
        (folder / "a.zip").write_bytes(b"a")
    assert [one.name for one in folder.iterdir()] == ["lock"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotKeep, match="cannot be written"), download_folder(tmp_path / "file"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
async def test_a_full_disk_is_told(run: Run) -> None:
    file = run.folder / "archive-downloads" / "BTCUSDT-fundingRate-2026-06.zip"

    def linked(done: Downloads) -> None:
        file.symlink_to("/dev/full")

    with pytest.raises(CannotKeep, match="cannot be written: No space left on device"):
        await run(FUNDING, tell=linked)
