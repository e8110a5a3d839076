"""The serving rows: the API compared with nginx, a bare ASGI app and a simple handler."""

import asyncio
import contextlib
import shutil
import socket
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from api.documents.content_coding import Coding
from api.documents.document_cache import DocumentCache
from api.documents.query import read_query
from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.documents import build_document, publish, symbol
from benchmarks.load import MISSING, Throughput, have_wrk, press
from benchmarks.machine import ROOT, Running, running
from benchmarks.report import LeftOut, Row, Sample, Target
from cache_manager import CacheManager, DocumentMeta
from documents.deflated import Deflated
from market.timeframes import Timeframe
from stores.hot.opening import open_hot_store
from timing.clock import now_ms

PART: Final = "serving"
LARGE: Final = Timeframe.H4
SMALL: Final = Timeframe.H1
NO_NGINX: Final = "nginx is not installed: apt-get install nginx-light"
ORIGIN: Final = "https://dashboard.example"
_DEFLATE: Final = {"Accept-Encoding": "deflate"}
_TICK_S: Final = 0.001
_NGINX: Final = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile 4096; events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {root};
    default_type application/json; add_header Content-Encoding deflate; }}
}}
"""


async def measure(bench: BenchmarkRun) -> None:
    """Measures the serving rows and adds them to `bench`."""
    sizes, cores = bench.sizes, bench.cores
    load_cores = cores.load if cores.load != cores.server else ()
    stores_folder = bench.folder / "serving-stores"
    async with open_stores(stores_folder, load_cores, postgres=False) as stores:
        metas = {}
        async with stores.lease() as lease:
            for name, (markets, rows) in ((LARGE, sizes.large), (SMALL, sizes.small)):
                bench.say(f"publishing a document of {markets} markets x {rows} rows")
                metas[name] = await publish(stores.cache, lease, name, markets, rows)
        await _throughput(bench, stores, metas)
        await _one_process(bench, stores, metas[LARGE])
        await _loop_block(bench, stores)


@contextlib.asynccontextmanager
async def _api(bench: BenchmarkRun, stores: Stores, **more: str) -> AsyncIterator[Running]:
    command = [sys.executable, str(ROOT / "main.py"), "api"]
    env = stores.environment(DATA_DIR=str(bench.folder / "serving-stores"), **more)
    async with running(command, cwd=bench.folder, env=env, cores=bench.cores.server) as server:
        yield server


# --- throughput ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pair:
    """One path of the API, and the file that the other server serves."""

    what: str
    against: str
    path: str
    body: str
    target: Target
    unit: str = "requests/s"
    validated: bool = False  # with If-None-Match, answered by 304
    from_page: bool = False  # with Origin, from a server with CORS_ORIGINS set


async def _throughput(
    bench: BenchmarkRun, stores: Stores, metas: Mapping[Timeframe, DocumentMeta]
) -> None:
    pairs = _pairs(bench)
    if not have_wrk():
        bench.left_out += [LeftOut(PART, pair.what, MISSING) for pair in pairs]
        return
    files = bench.folder / "bodies"
    files.mkdir()
    server = bench.cores.server
    apps = [sys.executable, "-m", "benchmarks.apps"]
    env = stores.environment()
    async with contextlib.AsyncExitStack() as opened:
        ours = await opened.enter_async_context(_api(bench, stores))
        etag = await _save_bodies(ours, pairs, files)
        to_pages = await opened.enter_async_context(_api(bench, stores, CORS_ORIGINS=ORIGIN))
        bare = await opened.enter_async_context(
            running([*apps, "bare", str(files)], cwd=bench.folder, env=env, cores=server)
        )
        addresses = {"bare ASGI": bare.address}
        if shutil.which("nginx"):
            addresses["nginx"] = await opened.enter_async_context(_nginx(bench, files))
        for pair in pairs:
            other = addresses.get(pair.against.partition(",")[0])
            if other is None:
                bench.left_out.append(LeftOut(PART, pair.what, NO_NGINX))
                continue
            headers = _DEFLATE | ({"If-None-Match": etag} if pair.validated else {})
            headers |= {"Origin": ORIGIN} if pair.from_page else {}
            ours_url = f"{(to_pages if pair.from_page else ours).address}{pair.path}"
            samples = await side_by_side(
                bench, ours_url, f"{other}/{pair.body}", headers, pair.unit
            )
            bench.add(Row(PART, pair.what, pair.against, pair.unit, samples, pair.target))
        first = await opened.enter_async_context(
            running([*apps, "first", stores.redis_url], cwd=bench.folder, env=env, cores=server)
        )
        await _beside_first_draft(bench, ours, first)


def _pairs(bench: BenchmarkRun) -> list[_Pair]:
    markets, rows = bench.sizes.large
    few, few_rows = bench.sizes.small
    deflate, bare = "nginx, the same bytes as a file", "bare ASGI, the same bytes"
    empty, one = "bare ASGI, an empty 304", symbol(markets // 2)
    most, some, half = Target(">=", 0.8), Target(">=", 0.7), Target(">=", 0.5)
    pages = "CORS_ORIGINS set, asked by a page"
    large, small = f"/cache/{LARGE}", f"/cache/{SMALL}"
    return [
        _Pair(f"GET deflate, {markets} x {rows}", deflate, large, "large", most, "MB/s"),
        _Pair(f"GET deflate, {few} x {few_rows}", deflate, small, "small", some, "MB/s"),
        _Pair(f"GET deflate, {few} x {few_rows}, {pages}", deflate, small, "small", some, "MB/s",
              from_page=True),
        _Pair("GET 304", empty, large, "304", half, validated=True),
        _Pair(f"GET 304, {pages}", empty, large, "304", half, validated=True, from_page=True),
        _Pair("GET ?symbol= of one market", bare, f"{large}?symbol={one}", "symbol", half),
        _Pair("GET ?limit=2 of all markets", bare, f"{large}?limit=2", "limit", half),
        _Pair("GET ?exchange=", bare, f"{large}?exchange=binance", "exchange", half, "MB/s"),
    ]  # fmt: skip


async def _save_bodies(ours: Running, pairs: list[_Pair], files: Path) -> str:
    """Saves the API's answers for the other servers; returns the large document's ETag."""
    etag = ""
    async with aiohttp.ClientSession(ours.address, auto_decompress=False) as client:
        for pair in pairs:
            if pair.validated or pair.from_page:
                continue
            async with client.get(pair.path, headers=_DEFLATE) as answer:
                body = await answer.read()
                if answer.status != 200 or not zlib.decompress(body).endswith(b"}"):
                    raise RuntimeError(f"{pair.path} was answered {answer.status}")
                etag = etag or answer.headers["ETag"]
            (files / pair.body).write_bytes(body)
    return etag


@contextlib.asynccontextmanager
async def _nginx(bench: BenchmarkRun, files: Path) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = bench.folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=bench.folder, port=port, root=files))
    # Without a master process nginx does not change its user, who could not read the folder.
    words = f"echo listening on http://127.0.0.1:{port}; exec nginx -c {config} -e stderr"
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"}
    command = ["sh", "-c", words]
    async with running(command, cwd=bench.folder, env=env, cores=bench.cores.server) as server:
        await _reachable(port)
        yield server.address


async def _reachable(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


async def side_by_side(
    bench: BenchmarkRun, ours: str, other: str, headers: Mapping[str, str], unit: str
) -> list[Sample]:
    """Measures both sides in each run, alternating which comes first."""

    async def look(url: str) -> float:
        found: Throughput = await press(
            url,
            # Large answers take longer to reach a steady rate.
            seconds=bench.sizes.seconds * (1 if unit == "MB/s" else 0.5),
            connections=bench.sizes.connections,
            folder=bench.folder,
            cores=bench.cores.load,
            headers=headers,
        )
        return found.mb_s if unit == "MB/s" else found.requests_s

    samples = []
    for run in range(bench.sizes.runs):
        if run % 2:
            theirs = await look(other)
            samples.append(Sample(await look(ours), theirs))
        else:
            mine = await look(ours)
            samples.append(Sample(mine, await look(other)))
    return samples


async def _beside_first_draft(bench: BenchmarkRun, ours: Running, first: Running) -> None:
    """Measures the large document as JSON from the simple handler, which takes seconds."""
    samples = []
    url = f"{ours.address}/cache/{LARGE}"
    async with aiohttp.ClientSession(first.address, auto_decompress=False) as client:
        for _ in range(bench.sizes.runs):
            began = time.perf_counter()
            async with client.get(f"/cache/{LARGE}", headers=_DEFLATE) as answer:
                await answer.read()
            first_s = time.perf_counter() - began
            mine = await press(
                url,
                seconds=bench.sizes.seconds,
                connections=bench.sizes.connections,
                folder=bench.folder,
                cores=bench.cores.load,
                headers=_DEFLATE,
            )
            samples.append(Sample(mine.requests_s, 1 / first_s))
    what, against = "GET full, large document", "get, base64, inflate, json.loads, JSONResponse"
    bench.add(Row(PART, what, against, "requests/s", samples, Target(">=", 100)))


# --- memory and CPU of a process of its own ------------------------------------------------------


async def _one_process(bench: BenchmarkRun, stores: Stores, meta: DocumentMeta) -> None:
    """Measures peak memory while many clients read the large document, and CPU for `?limit=2` of
    all markets: first of a version, cut anew, asked again. Each run begins with a new process."""
    stored_mb = meta.stored_bytes / 1e6
    deflate, identity, kept, cut, first = [], [], [], [], []
    path = f"/cache/{LARGE}?limit=2"
    repeats, before = 12, 8
    for _ in range(bench.sizes.runs):
        async with (
            _api(bench, stores) as ours,
            aiohttp.ClientSession(ours.address, auto_decompress=False) as client,
        ):
            await _read_at_once(ours, "deflate", bench.sizes.readers)
            deflate.append(Sample(ours.peak_mb(), stored_mb))
            # The document is loaded, but not yet inflated.
            first.append(Sample(await _cpu_ms(ours, client, [path])))
            # `since` is before all rows, so the slice is equal but cut anew. The first ones inflate
            # chunks, until they have cost as much as the text, of which all others are cut.
            anew = [f"{path}&since={number}" for number in range(1, before + repeats + 1)]
            await _cpu_ms(ours, client, anew[:before])
            cut.append(Sample(await _cpu_ms(ours, client, anew[before:])))
            kept.append(Sample(await _cpu_ms(ours, client, [path] * 10 * repeats)))
            await _read_at_once(ours, "identity", bench.sizes.readers)
            identity.append(Sample(ours.peak_mb(), stored_mb))
    what = f"memory of the API, {bench.sizes.readers} clients read the large document at once"
    against = "the document's stored size"
    note = "the peak of the process from its start on, interpreter and libraries included"
    bench.add(Row(PART, what, against, "MB", deflate, Target("<=", 6), note))
    note = "holds the inflated text as well, which every slice is cut from"
    bench.add(Row(PART, f"{what}, inflated", against, "MB", identity, Target("<=", 6), note))
    what = f"CPU of ?limit=2 of all {bench.sizes.large[0]} markets"
    target = Target("<=", 15, "ms")
    note = "of the API process, per request, client and store not counted"
    bench.add(Row(PART, f"{what}, cut anew", "", "ms", cut, target, note))
    bench.add(Row(PART, f"{what}, asked again", "", "ms", kept, target))
    note = f"inflates the chunks that it needs, of {meta.json_bytes / 1e6:.0f} MB"
    bench.add(Row(PART, f"{what}, first of a version", "", "ms", first, None, note))


async def _cpu_ms(ours: Running, client: aiohttp.ClientSession, paths: list[str]) -> float:
    before = ours.cpu_s()
    for path in paths:
        async with client.get(path, headers=_DEFLATE) as answer:
            await answer.read()
            answer.raise_for_status()
    return (ours.cpu_s() - before) * 1000 / len(paths)


async def _read_at_once(ours: Running, coding: str, readers: int) -> None:
    async def read(client: aiohttp.ClientSession) -> None:
        async with client.get(f"/cache/{LARGE}", headers={"Accept-Encoding": coding}) as answer:
            answer.raise_for_status()
            async for _ in answer.content.iter_chunked(1 << 18):
                pass

    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(ours.address, auto_decompress=False, connector=connector) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(readers):
            group.create_task(read(client))


# --- the event loop ------------------------------------------------------------------------------


async def _loop_block(bench: BenchmarkRun, stores: Stores) -> None:
    """Measures the longest block of the event loop while it loads, inflates and publishes."""
    markets, rows = bench.sizes.large
    loading, inflating, publishing = [], [], []
    reader = open_hot_store(stores.settings(), client_name="benchmarks-reader")
    try:
        async with stores.lease() as lease:
            for _ in range(bench.sizes.runs):
                version = await stores.cache.next_version(LARGE, now_ms())
                document = await asyncio.to_thread(build_document, LARGE, markets, rows, version)
                idle_ms = await _longest_gap_ms(lambda: asyncio.sleep(0.5))

                async def put(version: int = version, document: Deflated = document) -> None:
                    await stores.cache.save_to_cache(
                        LARGE,
                        document,
                        version=version,
                        as_of_ms=version,
                        updated_at_ms=version,
                        lease=lease,
                    )

                publishing.append((await _longest_gap_ms(put), idle_ms))
                documents = DocumentCache(CacheManager(reader))
                try:
                    loading.append((await _longest_gap_ms(lambda: _load(documents)), idle_ms))  # noqa: B023
                    inflating.append((await _longest_gap_ms(lambda: _cut(documents)), idle_ms))  # noqa: B023
                finally:
                    await documents.aclose()
    finally:
        await reader.aclose()
    target = Target("<=", 20, "ms")
    for what, found in (
        ("loaded", loading),
        ("inflated and cut", inflating),
        ("published", publishing),
    ):
        idle = max(idle_ms for _, idle_ms in found)
        samples = [Sample(ours_ms) for ours_ms, _ in found]
        note = f"beyond a tick of {_TICK_S * 1000:g} ms; an idle loop here: up to {idle:.1f} ms"
        name = f"longest block of the event loop, large document {what}"
        bench.add(Row(PART, name, "", "ms", samples, target, note))


async def _load(documents: DocumentCache) -> None:
    await documents.current(LARGE)


async def _cut(documents: DocumentCache) -> None:
    copy = await documents.current(LARGE)
    if copy is not None:
        await documents.body(copy, read_query(b"limit=2"), Coding.DEFLATE)


async def _longest_gap_ms(work: Callable[[], Awaitable[object]]) -> float:
    longest_s = 0.0

    async def tick() -> None:
        nonlocal longest_s
        last = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.perf_counter()
            longest_s = max(longest_s, now - last - _TICK_S)
            last = now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(5 * _TICK_S)
    try:
        await work()
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    return longest_s * 1000
