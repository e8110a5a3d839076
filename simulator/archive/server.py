"""Answers requests for the archive: listings, files and checksums, with the faults of answers."""

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from simulator.answers import Answer, error_page
from simulator.archive.fault_kinds import ANSWER_KINDS, NAME
from simulator.archive.listing import list_objects, refused
from simulator.archive.names import CHECKSUM, KINDS_OF, parse_key
from simulator.archive.objects import ArchiveObjects
from simulator.exchange_markets import ExchangeMarkets
from simulator.faults import FaultRules, Rule
from simulator.parameters import read
from simulator.stats import RequestRecord, Stats

ENDPOINTS: Final = (
    "listing",
    "checksum",
    *sorted({k for kinds in KINDS_OF.values() for k in kinds}),
)
_SECONDS: Final = {"hang": 60.0, "slow": 1.0}  # by default


class Archive:
    """The archive's HTTP server: GET and HEAD, without limits, for nothing is known of any."""

    def __init__(
        self, markets: ExchangeMarkets, stats: Stats, faults: FaultRules, *, latency_s: float
    ) -> None:
        self._objects = ArchiveObjects(markets, faults)
        self._clock = markets.clock
        self._stats = stats
        self._faults = faults
        self._latency_s = latency_s

    def serves(self, path: str, query: str) -> bool:
        """Whether a request is for the archive."""
        return path.startswith("/data/") or (path in ("", "/") and "prefix=" in query)

    async def handle(self, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        """`path` and `query` as they came; names of contracts may be in any script."""
        path = unquote(path, errors="replace")
        file = parse_key(path.removeprefix("/").removesuffix(CHECKSUM))
        if not path.startswith("/data/"):
            endpoint = "listing"
        elif path.endswith(CHECKSUM):
            endpoint = "checksum"
        else:
            endpoint = file.kind if file else "unknown"
        client = request.headers.get("X-Sim-Client") or request.remote or "unknown"
        symbol = file.symbol if file else ""
        arrived_s = self._clock.monotonic_s()

        def count(status: int, fault: str) -> None:
            self._stats.count(
                RequestRecord(
                    NAME, endpoint, symbol, client, status, arrived_s, self._clock.monotonic_s(),
                    fault,
                )
            )  # fmt: skip

        if self._latency_s:
            await self._sleep(self._latency_s)
        target = {"exchange": NAME, "endpoint": endpoint, "symbol": symbol, "client": client}
        rule = self._faults.pick_stream(ANSWER_KINDS, target, self._clock.elapsed_s())
        if rule is not None:
            self._stats.faults[rule.kind] += 1
        return await self._answer(request, rule, self._usual(request, path, query), count)

    def _usual(self, request: web.BaseRequest, path: str, query: str) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return refused(405, "MethodNotAllowed", "GET and HEAD alone")
        if not path.startswith("/data/"):
            return list_objects(self._objects, read(query))
        found = self._objects.find(path.removeprefix("/"))
        if found is None:
            return refused(404, "NoSuchKey", "The specified key does not exist.")
        headers = {
            "ETag": found.etag,
            "Last-Modified": formatdate(found.modified_ms / 1000, usegmt=True),
        }
        if request.headers.get("If-None-Match") in (found.etag, "*"):
            return Answer(304, b"", "application/zip", headers)
        return Answer(200, found.body, "application/zip", headers)

    async def _answer(
        self, request: web.BaseRequest, rule: Rule | None, answer: Answer,
        count: Callable[[int, str], None],
    ) -> web.StreamResponse:  # fmt: skip
        kind = "" if rule is None else rule.kind
        if rule is not None and kind != "archive_cut":
            await self._sleep(float(rule.get("seconds", _SECONDS.get(kind, 0))))
            if kind == "hold":
                await self._faults.hold(rule)
            if kind == "status":
                status = int(rule.get("status"))
                answer = error_page(status)
                if "retry_after" in rule.settings:
                    answer.headers["Retry-After"] = str(int(rule.get("retry_after")))
        if kind in ("reset", "hang", "archive_cut"):
            count(0, kind)
            if rule is not None and kind == "archive_cut":
                await self._half(request, answer, float(rule.get("seconds", 0)))
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # never sent
        count(answer.status, kind)
        return web.Response(status=answer.status, body=answer.body, headers=self._headers(answer))

    async def _half(self, request: web.BaseRequest, answer: Answer, seconds: float) -> None:
        response = web.StreamResponse(status=answer.status, headers=self._headers(answer))
        response.content_length = len(answer.body)
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
        await self._sleep(seconds)

    def _headers(self, answer: Answer) -> dict[str, str]:
        date = formatdate(self._objects.now_ms / 1000, usegmt=True)
        return {"Content-Type": answer.content_type, "Date": date, **answer.headers}

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(self._clock.real_s(seconds))
