"""The benchmarks run and give a table of the right form; no number in it is asserted."""

import sys
from pathlib import Path
from typing import Final

import orjson
import pytest

from benchmarks.__main__ import PARTS
from benchmarks.machine import ROOT, environment, run_measured
from benchmarks.report import LeftOut, Report, Row, Sample, Target

# The shortest one runs always; the others are programs of the same form.
SHORTEST: Final = "columns"


def test_a_row_is_the_median_of_ratios_taken_side_by_side() -> None:
    # The ratios are 0.5, 0.9 and 2; the ratio of the medians would be 1.
    samples = [Sample(10, 20), Sample(9, 10), Sample(12, 6)]
    row = Row("serving", "what", "against", "MB/s", samples, Target(">=", 0.9))
    assert row.value == 0.9
    assert row.met is True
    assert (row.ours, row.other) == (10, 10)


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (Target(">=", 0.8), 0.8, True),
        (Target(">=", 0.8), 0.79, False),
        (Target("<=", 15, "ms"), 15.0, True),
        (Target("<=", 15, "ms"), 15.1, False),
        (None, 1e9, None),
    ],
)
def test_a_row_says_whether_its_target_is_met(
    target: Target | None, value: float, met: bool | None
) -> None:
    assert Row("serving", "what", "", "ms", [Sample(value)], target).met is met


def test_the_report_is_written_as_json_and_as_markdown(tmp_path: Path) -> None:
    rows = [
        Row("serving", "GET", "nginx", "MB/s", [Sample(900, 1000)], Target(">=", 0.8)),
        Row("collecting", "CPU", "", "ms", [Sample(3)], Target("<=", 2, "ms"), "a note"),
        Row("collecting", "for information", "", "ms", [Sample(3)]),
    ]
    report = Report({"machine": "this one"}, rows, [LeftOut("serving", "HEAD", "no wrk")])
    json, markdown = report.write(tmp_path / "results", "latest")
    lines = markdown.read_text().splitlines()
    assert "| GET | nginx | 900 MB/s | 1,000 MB/s | 0.9 | >= 0.8 | yes |" in lines
    assert "| CPU |  | 3 ms |  |  | <= 2 ms | **no** |" in lines
    assert "| for information |  | 3 ms |  |  |  |  |" in lines
    assert "- CPU: a note" in lines
    assert "- HEAD (serving): no wrk" in lines
    told = orjson.loads(json.read_bytes())
    assert [row["met"] for row in told["rows"]] == [True, False, None]
    assert told["rows"][0]["runs"] == [[900, 1000, 0.9]]
    assert sorted(file.name for file in json.parent.iterdir()) == ["latest.json", "latest.md"]


_LONG: Final = (pytest.mark.slow, pytest.mark.timeout(600))


@pytest.mark.parametrize(
    "part", [part if part == SHORTEST else pytest.param(part, marks=_LONG) for part in PARTS]
)
async def test_a_tiny_run_gives_the_whole_table(part: str, tmp_path: Path) -> None:
    await run_measured(
        [sys.executable, "-m", "benchmarks", "--tiny", "--part", part, "--results", str(tmp_path)],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        deadline_s=110 if part == SHORTEST else 580,
    )
    told = orjson.loads((tmp_path / f"{part}.json").read_bytes())
    assert {"machine", "cores", "runs", "took"} <= told["facts"].keys()
    assert all(row["part"] == part and row["value"] > -10 for row in told["rows"])
    named = {row["what"] for row in told["rows"]} | {left["what"] for left in told["left_out"]}
    for what in EXPECTED[part]:
        assert any(what in name for name in named), what
    # What is left out says what to install.
    assert all("install" in left["why"] for left in told["left_out"])


EXPECTED: Final = {
    "bots": [
        "CPU of the API per answer, a whole document",
        "CPU of the API per answer, one market of it, the first in a version",
        "bytes of an answer, nothing new (304)",
        "CPU of the API per event, events of one market",
        "13 bots: answers a second",
        "13 bots: questions refused or cut",
        "13 bots: CPU of the API per answer or event",
        "13 bots: one market of it, time of a poll, 99 of 100",
    ],
    "running": [
        "CPU of all processes, mean",
        "(idle)",
        "(a close)",
        "memory of all processes, most",
        "disk written in a day",
        "network to the exchanges in a day",
        "memory of the hot store, per market and timeframe",
        "write-ahead log of the database in a day, per market and timeframe",
    ],
    "status": [
        "CPU of the API for 200 pages that ask for /status every 3 s",
        "a fresh /status",
    ],
    "facade": [
        "Binance candles from the cache",
        "Bybit candles from the cache",
        "requests to the exchange per question, 50 clients ask 40 at once",
    ],
    "providers": [
        "CPU of a chain over the bare HTTP call",
        "CPU of a question for which a provider is asked",
    ],
    "workers": [
        "short runs that wait: taken, begun, ended",
        "short runs while they are asked for",
    ],
    "shards": [
        "wall time of a cold 4h collection by two addresses, 6 markets",
        "requests of a cold 4h collection from the address that asked less",
        "wall time of a cold collection of all timeframes by two addresses, 6 markets",
        "requests of a cold collection of all timeframes from the address that asked less",
    ],
    "history": [
        "bytes of a candle in chunks",
        "storing a publish of 4 markets",
        "write-ahead log of a day, nine timeframes, 4 markets",
        "compaction of a day, 4 markets",
        "a year of 1h of one market",
        "pages",
        "the last 499 hours of 4 markets",
        "filling in 3000 candles of 5m of one market",
        "filling in 3000 candles of 5m of one market, page by page",
        "rows of history as Arrow: CPU of the API",
    ],
    "serving": [
        "GET deflate, 20 x 50",
        "GET deflate, 4 x 10",
        "GET 304",
        "GET ?symbol=",
        "GET ?limit=2",
        "GET ?exchange=",
        "CPU of ?limit=2",
        "memory of the API",
        "longest block",
    ],
    "columns": [
        "20 x 50 as Arrow: size",
        "20 x 50 as Arrow: a client's CPU until it has columns",
        "20 x 50 as Arrow: CPU to make it",
        "20 x 50 as Arrow: the longest wait of the event loop meanwhile",
    ],
    "publishing": [
        "CPU of publishing a document in which one row of each market is new",
        "CPU of the first ?symbol=",
        "memory of the first ?limit=2",
    ],
    "collecting": [
        "parse + merge + 8h + encode + compress",
        "cold 4h collection",
        "refresh one minute later",
        "CPU of a cold collection",
        "peak memory",
        "CPU from 4 to 8 markets",
        "memory from 4 to 8 markets",
    ],
    "streams": [
        "closes by streams, 3 + 3 markets: candles in all documents that close",
        "a listener of /events knows of all",
        "markets asked for at a close by streams",
        "requests for longer candles at a close by streams",
        "CPU of the live process, 3 + 3 markets",
        "CPU of the live process per message",
        "memory of the live process",
    ],
    "closes": [
        "CPU of a midnight close of ten documents",
        "first collections of all timeframes, 3 + 3 markets: candles",
        "first collections of all timeframes, 3 + 3 markets: with open interest",
        "midnight close, 3 + 3 markets: POST to the last document",
        "klines requests of it",
        "open-interest requests of it",
        "peak memory of the worker with ten documents",
        "peak memory of the worker with WORKER_MEMORY_MB=64",
        "requests of a 4h run with a fresh base",
        "bytes appended",
        "second of two closes in a row, 4 + 4 markets: candles",
        "second of two closes in a row, 4 + 4 markets: with open interest",
        "limits broken",
    ],
}
