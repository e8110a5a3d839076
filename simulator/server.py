"""One request from socket to answer: which exchange, which limit, which fault, then the count."""

import asyncio
from collections.abc import Mapping
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from simulator import binance, bybit, damage
from simulator.answers import Answer, World
from simulator.binance import Binance
from simulator.bybit import Bybit
from simulator.control import Control
from simulator.faults import FaultBook, Rule
from simulator.limits import Limits
from simulator.parameters import read, whole_number
from simulator.stats import Asked, Stats

_PREFIXES: Final = {"/fapi/": "binance", "/futures/": "binance", "/v5/": "bybit"}
_DEFAULT_LIMITS: Final = {
    ("binance", "klines"): 500, ("binance", "open_interest"): 30, ("binance", "funding"): 100,
    ("bybit", "klines"): 200, ("bybit", "open_interest"): 50, ("bybit", "funding"): 200,
    ("bybit", "instruments"): 500,
}  # fmt: skip


class Cut(Exception):
    """The connection ends here, without an answer."""


class Server:
    """The request handler. Latency is added to every exchange answer, not to /sim."""

    def __init__(
        self, world: World, limits: Limits, stats: Stats, faults: FaultBook, control: Control,
        *, latency_s: float, limit_headers: bool,
    ) -> None:  # fmt: skip
        self._world = world
        self._limits = limits
        self._stats = stats
        self._faults = faults
        self._control = control
        self._latency_s = latency_s
        self._binance = Binance(world)
        self._bybit = Bybit(world, limit_headers=limit_headers)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        exchange = next((name for start, name in _PREFIXES.items() if path.startswith(start)), None)
        if exchange is None:
            answer = await self._control.answer(
                request.method, path, parse_qs(query, keep_blank_values=True), request.read
            )
            return _response(answer, None)
        client = request.headers.get("X-Sim-Client") or request.remote or "unknown"
        paths = binance.PATHS if exchange == "binance" else bybit.PATHS
        endpoint = paths.get(path, "unknown")
        parameters = read(query)
        arrived_s = self._world.clock.monotonic_s()

        def count(status: int, fault: str) -> None:
            symbol, now_s = parameters.get("symbol", ""), self._world.clock.monotonic_s()
            self._stats.count(
                Asked(exchange, endpoint, symbol, client, status, arrived_s, now_s, fault)
            )

        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        try:
            answer = await self._exchange_answer(request, exchange, endpoint, parameters, client)
        except Cut as cut:
            count(0, str(cut))
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # nobody is there to read it
        count(answer.status, answer.fault)
        if answer.rejected:
            self._stats.refuse(
                exchange, endpoint, query, answer.body[:300].decode("utf-8", "replace")
            )
        return _response(answer, self._world.clock.now_ms(exchange))

    async def _exchange_answer(
        self, request: web.BaseRequest, exchange: str, endpoint: str, query: dict[str, str],
        client: str,
    ) -> Answer:  # fmt: skip
        venue = self._binance if exchange == "binance" else self._bybit
        if endpoint == "unknown":
            answer = venue.unknown_path()
            answer.rejected = True
            return answer
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"", "text/plain", rejected=True)
        if exchange == "bybit" and request.body_exists:
            return self._bybit.body_refused()

        headers: dict[str, str] = {}
        if exchange == "binance":
            counter, cost = self._binance.cost(endpoint, query)
            refusal = self._limits.binance(client, counter, cost)
            headers = self._binance.headers(endpoint, self._limits.weight_used(client), cost)
            if refusal is not None:
                answer = self._binance.refusal(refusal, client)
                answer.headers.update(headers)
                return answer
        else:
            counter, refusal = "bybit", self._limits.bybit(client)
            if refusal is not None:
                return self._bybit.refusal(refusal)

        target = {
            "exchange": exchange, "endpoint": endpoint, "client": client,
            "symbol": query.get("symbol", ""),
        }  # fmt: skip
        rule = self._faults.pick(target, self._world.clock.monotonic_s())
        if rule is None:
            answer = venue.answer(endpoint, query)
        else:
            self._stats.faults[rule.kind] += 1
            answer = await self._spoilt(rule, exchange, endpoint, query, client, counter)
            answer.fault = rule.kind
        answer.headers.update(headers)
        return answer

    async def _spoilt(
        self, rule: Rule, exchange: str, endpoint: str, query: dict[str, str], client: str,
        counter: str,
    ) -> Answer:  # fmt: skip
        kind, seconds = rule.kind, float(rule.get("seconds", _SECONDS.get(rule.kind, 0)))
        if seconds:
            await asyncio.sleep(seconds)
        if kind in ("reset", "hang"):
            raise Cut(kind)
        if kind == "status":
            return self._bad_status(rule, exchange, client, counter)
        if kind == "retcode":
            text = str(rule.get("message", _RETCODE_TEXTS.get(rule.get("code"), "error")))
            return self._bybit.envelope(rule.get("code"), text, b"{}")
        if kind in damage.REPLACED:
            return damage.REPLACED[kind](exchange)
        if kind == "short_page":
            default = _DEFAULT_LIMITS.get((exchange, endpoint), 2)
            asked = whole_number(query.get("limit", "")) or default
            rows = rule.get("rows")
            query["limit"] = str(max(1, asked // 2 if rows is None else min(int(rows), asked)))
        if kind == "repeated_cursor":
            query.pop("cursor", None)
        venue = self._binance if exchange == "binance" else self._bybit
        answer = venue.answer(endpoint, query)
        if not answer.rejected and kind in damage.SPOILT:
            damage.SPOILT[kind](answer, str(rule.get("variant", "high_below_low")))
        return answer

    def _bad_status(self, rule: Rule, exchange: str, client: str, counter: str) -> Answer:
        """An HTTP error. 429, 418 and the rate 403 are kept to: going on makes it worse."""
        status, text = int(rule.get("status")), str(rule.get("text", ""))
        variant = str(rule.get("variant", ""))
        if exchange == "binance" and status == 429:
            wait_s = float(rule.get("retry_after", 5))
            return self._binance.refusal(
                self._limits.tell(client, counter, wait_s, made_up=True), client
            )
        if exchange == "binance" and status == 418:
            ban_s = float(rule.get("ban_s", self._limits.settings.ban_s))
            return self._binance.refusal(self._limits.ban(client, ban_s), client)
        if exchange == "bybit" and status == 403 and variant in ("", "rate") and not text:
            ban_s = float(rule.get("ban_s", self._limits.settings.bybit_ban_s))
            return self._bybit.refusal(self._limits.ban_bybit(client, ban_s))
        return damage.status_answer(exchange, status, text, variant)


_SECONDS: Final = {"hang": 60.0, "slow": 1.0}
_RETCODE_TEXTS: Final[Mapping[object, str]] = {
    10000: "Server Timeout",
    10001: "params error",
    10002: "The request time exceeds the time window range.",
    10006: "Too many visits!",
    10009: "IP address is restricted",
    10016: "Internal server error",
    10018: "Exceeded the IP rate limit",
    10029: "Symbol is invalid",
    10429: "System level frequency protection",
}


def _response(answer: Answer, now_ms: int | None) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    if now_ms is not None:
        headers["Date"] = formatdate(now_ms / 1000, usegmt=True)
    return web.Response(status=answer.status, body=answer.body, headers=headers)
