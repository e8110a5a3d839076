"""`import --download` against the simulated archive: the record is the truth, faults are told."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import import_files
from commands.errors import CommandError
from config import Settings
from database import Database, SeriesKey
from history.archive import host
from main import build_parser
from market.timeframes import Timeframe
from tests.fixtures.simulator import Simulator
from tests.history.archive.naive_files import ms
from tests.simulator.faults import fault

ROOT = Path(__file__).resolve().parents[2]
INTEREST = SeriesKey.open_interest("binance", "BTCUSDT")
H1 = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H1)
FUNDING = SeriesKey.funding("binance", "BTCUSDT")
FROM, TO = "2026-06-01", "2026-07-03"


@pytest.fixture(scope="module")
def _shared() -> Iterator[Simulator]:
    simulator = Simulator({"binance": 2, "bybit": 0, "now": "2026-07-10T12:00:00Z", "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
def sim(_shared: Simulator) -> Iterator[Simulator]:
    yield _shared
    _shared.delete("/sim/faults")
    _shared.post("/sim/stats/reset")


class Command:
    """Runs `import --download` in this process, and reads what is then recorded."""

    def __init__(self, sim: Simulator, database_url: str, tmp_path: Path, capsys: Any) -> None:
        self._capsys = capsys
        self.environment = {
            "DATABASE_URL": database_url, "DATA_DIR": str(tmp_path), "EXCHANGES": "binance",
            "BINANCE_BASE_URL": sim.base_url, "ARCHIVE_URL": f"{sim.base_url}/",
        }  # fmt: skip
        self.database = Database(database_url)

    async def __call__(self, *arguments: str, **settings: object) -> tuple[int, list[str]]:
        """The exit code and the lines of the output."""
        overrides = {name.lower(): value for name, value in self.environment.items()} | settings
        argv = ["import", "--download", *arguments]
        code = await import_files.run(
            Settings(**overrides),  # type: ignore[arg-type]
            asyncio.Event(),
            build_parser(argv).parse_args(argv),
        )
        return code, self._capsys.readouterr().out.splitlines()

    async def rows(self, key: SeriesKey) -> dict[int, list[float]]:
        async with self.database.history.snapshot() as snapshot:
            found = (await snapshot.versions([key], 0, 10**14))[key]
        return dict(zip(found.times.tolist(), found.values.tolist(), strict=True))


@pytest.fixture
async def command(
    sim: Simulator, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Command]:
    found = Command(sim, database_url, tmp_path, capsys)
    yield found
    await found.database.aclose()


def truth(sim: Simulator, timeframe: str, to: str, candles: int) -> list[list[Any]]:
    found = sim.truth(
        timeframe, symbol="BTCUSDT", exchange="binance", as_of=ms(to) + 600_000, candles=candles
    )
    return found["binance:BTCUSDT"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a PATH, or give --download"),
        (("a", "--download"), "and not both"),
        (
            ("a", "--symbol", "BTCUSDT", "--to", "2026-01-01"),
            "--symbol --to chooses what --download",
        ),
        (("a", "--what", "funding"), "--what chooses what --download asks for"),
    ],
)
async def test_what_is_imported_is_either_named_or_asked_for(
    arguments: tuple[str, ...], words: str
) -> None:
    """Options that would count for nothing are refused."""
    parsed = build_parser(["import", *arguments]).parse_args(["import", *arguments])
    with pytest.raises(CommandError, match=words):
        await import_files.run(Settings(), asyncio.Event(), parsed)  # type: ignore[call-arg]


async def test_a_month_equals_the_truth(command: Command, sim: Simulator) -> None:
    """Candles, settlements, and open interest over the day on which its labels changed."""
    code, lines = await command(
        "--symbol", "btcusdt", "--timeframe", "1h", "--from", FROM, "--to", TO,
    )  # fmt: skip
    assert code == 0, lines
    first, end = ms(FROM), ms(TO)
    candles = truth(sim, "1h", TO, 800)
    assert await command.rows(H1) == {r[0]: r[1:7] for r in candles if first <= r[0] < end}
    settled = sim.get("/sim/funding", symbol="BTCUSDT", exchange="binance")["markets"][0]["rows"]
    july = ms("2026-07-01")
    assert await command.rows(FUNDING) == {t: [v] for t, v in settled if first <= t < july}
    snapshots = {
        row[0]: [row[7]]
        for to in ("2026-06-17", TO)
        for row in truth(sim, "5m", to, 4999)
        if first <= row[0] < end
    }
    found = await command.rows(INTEREST)
    assert len(snapshots) == 32 * 288
    assert {t: value for t, value in found.items() if first <= t < end} == snapshots
    assert lines[-2] == "binance:BTCUSDT funding: the archive has no file of 2026-07"
    # A month and two days of candles, 33 days of metrics, a month's funding.
    assert lines[-1].startswith("37 of 37 files imported: ")
    code, lines = await command("--symbol", "BTCUSDT", "--timeframe", "1h", "--from", FROM,
                                "--to", TO)  # fmt: skip
    assert code == 0
    assert lines[-1].startswith("0 of 0 files imported; 37 were imported before, 4 requests")


# Kind of fault, of a day each -> what the lines say of the file.
FAULTS = {
    "archive_missing": "binance:BTCUSDT open_interest: the archive has no file of 2026-06-10",
    "archive_half": "144 added, 144 lacking in the file",
    "archive_zeros": "264 added, 24 zeros taken as missing, 24 lacking in the file",
    "archive_doubled": "288 added, 288 doubles dropped",
    "archive_disputed": "287 added, 2 refused, 1 lacking in the file",
    "archive_truncated": "refused: the zip archive is truncated: download it again",
    "archive_checksum": "is left out: its sha256 is ",
    "archive_no_checksum": "is left out: the archive has no checksum of it",
    "archive_bomb": "refused: it unpacks to 100000000 bytes, more than its name allows",
    "archive_path": "refused: the zip archive must hold BTCUSDT-metrics-2026-06-19.csv, and",
    "archive_draft": "288 added",
}


async def test_each_fault_is_mended_or_told(command: Command, sim: Simulator) -> None:
    days = {kind: f"2026-06-{10 + place}" for place, kind in enumerate(FAULTS)}
    for kind, day in days.items():
        fault(sim, kind, endpoint="metrics", period=day)
    wanted = ("--symbol", "BTCUSDT", "--what", "open_interest", "--from", "2026-06-10T00:05",
              "--to", "2026-06-22")  # fmt: skip
    code, lines = await command(*wanted)
    assert code == 1
    for kind, words in FAULTS.items():
        named = kind if kind == "archive_missing" else f"metrics-{days[kind]}"
        told = [
            line for line in lines if words in line and (named in line or words[:7] == "binance")
        ]
        assert len(told) == 1, "\n".join([kind, *lines])
    first, end = ms("2026-06-10"), ms("2026-06-22")
    snapshots = {r[0]: [r[7]] for r in truth(sim, "5m", "2026-06-22", 4000) if first < r[0] <= end}
    found = await command.rows(INTEREST)
    wrong = {t for t, value in found.items() if snapshots[t] != value}
    assert wrong == {ms("2026-06-20T00:05")}  # as the draft has it
    # Once the archive has mended its files, they are imported again.
    sim.delete("/sim/faults")
    code, lines = await command(*wanted)
    assert code == 0, lines
    assert await command.rows(INTEREST) == snapshots
    assert lines[-1].startswith("11 of 11 files imported: ")
    assert "; 1 were imported before" in lines[-1]  # the whole one did not come again


async def test_what_cannot_be_downloaded_is_said(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_TRIES", 1)
    for arguments, words in (
        (["--exchange", "bybit"], "bybit: only Binance has such an archive; `backfill --exchange"),
        (["--symbol", "../x"], "--symbol '../X' is no name"),
        ([], "no market of binance is known yet"),
        (["--from", "2026-06-02", "--to", "2026-06-01"], "--from must be before --to"),
    ):
        with pytest.raises(CommandError, match=words.replace("`", ".")):
            await command(*arguments)
    with pytest.raises(CommandError, match="ARCHIVE_URL is the live archive"):
        await command("--symbol", "BTCUSDT", archive_url="https://data.binance.vision")
    with pytest.raises(
        CommandError, match=r"http://127\.0\.0\.1:9: .*cannot connect.*1 tries"
    ) as e:
        await command("--symbol", "BTCUSDT", archive_url="http://127.0.0.1:9")
    assert e.value.exit_code == 69


@pytest.mark.slow
async def test_a_process_that_is_killed_is_resumed(command: Command, sim: Simulator) -> None:
    arguments = ("--symbol", "BTCUSDT", "--timeframe", "1h", "--from", FROM, "--to", TO)
    (Path(command.environment["DATA_DIR"]) / "exchanges.json").unlink(missing_ok=True)
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program
            [sys.executable, "main.py", "import", "--download", *arguments],
            cwd=ROOT, env=command.environment | {"PATH": ""}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(7):
            assert await asyncio.to_thread(process.stdout.readline)
        process.send_signal(number)
        await asyncio.to_thread(process.communicate)
        assert process.returncode == (130 if number == signal.SIGTERM else -9)
    known = json.loads(json.dumps(await command.rows(H1)))
    code, lines = await command(*arguments)
    assert code == 0, lines
    assert "were imported before" in lines[-1]
    assert len(known) >= 720
    candles = truth(sim, "1h", TO, 800)
    assert await command.rows(H1) == {r[0]: r[1:7] for r in candles if ms(FROM) <= r[0] < ms(TO)}
