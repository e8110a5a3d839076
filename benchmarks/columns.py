"""The rows of documents as tables: an Arrow stream beside the deflated JSON that it is made of."""

import asyncio
import time
import zlib
from typing import Any, Final

import numpy as np
import orjson
from arro3.io import read_ipc_stream

from api.documents.column_formats import write_table
from api.documents.content_coding import Coding
from api.formats import Format
from benchmarks.benchmark_run import BenchmarkRun
from benchmarks.documents import build_document
from benchmarks.report import Row, Sample, Target
from documents.deflated import inflate
from documents.text import DocumentText
from market.timeframes import Timeframe

PART: Final = "columns"
_AS_OF_MS: Final = 1_795_185_441_250
_TICK_S: Final = 0.001


async def measure(bench: BenchmarkRun) -> None:
    """Measures size, what it costs to make and to read, and how long the event loop waits."""
    count, length = bench.sizes.large
    bench.say(f"columns: {count} markets x {length}")
    document = build_document(Timeframe.H4, count, length, _AS_OF_MS)
    stored = b"".join(document.pieces)
    sizes, reading, making, waits = [], [], [], []
    for _ in range(bench.sizes.runs):
        waited = asyncio.create_task(_longest_wait())
        await asyncio.sleep(10 * _TICK_S)
        began = time.process_time()
        arrow = await asyncio.to_thread(_made, stored, document.text_bytes)
        making.append(Sample(1000 * (time.process_time() - began)))
        waited.cancel()
        waits.append(Sample(1000 * await waited))
        sizes.append(Sample(len(arrow) / 1e6, len(stored) / 1e6))
        reading.append(Sample(_cpu_ms(read_arrow, arrow), _cpu_ms(read_json, stored)))
    what = f"{count} x {length} as Arrow"
    json = "deflated JSON"
    bench.rows += [
        Row(PART, f"{what}: size", json, "MB", sizes, Target("<=", 1.3)),
        Row(
            *(PART, f"{what}: a client's CPU until it has columns", f"{json}, by orjson", "ms"),
            *(reading, Target("<=", 0.05)),
            "Arrow read by arro3; JSON by zlib and orjson, then an array for each column",
        ),
        Row(
            *(PART, f"{what}: CPU to make it", "", "ms", making, Target("<=", 400, "ms")),
            "from the bytes as stored: inflated, read and written",
        ),
        Row(
            *(PART, f"{what}: the longest wait of the event loop meanwhile", "", "ms", waits),
            Target("<=", 20, "ms"),
            "a timer of 1 ms; also waits for the machine's other programs",
        ),
    ]


def _made(stored: bytes, text_bytes: int) -> bytes:
    text = DocumentText(inflate(stored, text_bytes))
    return b"".join(write_table(Format.ARROW, text, Coding.IDENTITY))


async def _longest_wait() -> float:
    """How late a timer came at most, in seconds, until this task is cancelled."""
    longest = 0.0
    try:
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(_TICK_S)
            longest = max(longest, time.perf_counter() - asked - _TICK_S)
    except asyncio.CancelledError:
        return longest


def _cpu_ms(work: Any, body: bytes) -> float:
    began = time.process_time()
    work(body)
    return 1000 * (time.process_time() - began)


def read_arrow(body: bytes) -> Any:
    """The table of an Arrow stream."""
    return read_ipc_stream(body).read_all()


def read_json(body: bytes) -> dict[str, Any]:
    """The columns of a deflated document, as a client of JSON gets them."""
    document = orjson.loads(zlib.decompress(body))
    rows = [row for market in document["markets"] for row in market["rows"]]
    names = document["columns"]
    columns = {
        name: np.array(column, np.float64)
        for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    counts = [len(market["rows"]) for market in document["markets"]]
    for name in ("exchange", "symbol"):
        columns[name] = np.repeat([market[name] for market in document["markets"]], counts)
    return columns
