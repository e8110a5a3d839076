"""The simulator's request handler: exchange, rate limit, fault, answer, statistics."""

import asyncio
from collections.abc import Mapping
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from simulator import clock_offsets, damage, networks
from simulator.answers import Answer
from simulator.archive.server import Archive
from simulator.control import Control
from simulator.exchange import Exchange
from simulator.faults import FaultRules, Rule
from simulator.parameters import read, whole_number
from simulator.providers.server import Providers
from simulator.stats import RequestRecord, Stats
from simulator.streams.connections import Streams

_KLINES: Final = ("klines", "history_klines")
_PERIOD_NAMES: Final = ("interval", "period", "intervalTime", "bar")
_SECONDS: Final = {"hang": 60.0, "slow": 1.0, "endless_continue": 60.0}  # by default


class ConnectionCut(Exception):
    """The connection is to be closed without an answer."""


class Server:
    """The request handler. Latency is added to the exchanges' answers, not to /sim."""

    def __init__(
        self, exchanges: Mapping[str, Exchange], stats: Stats, faults: FaultRules,
        control: Control, streams: Streams, archive: Archive,
        providers: Providers | None, *, latency_s: float,
    ) -> None:  # fmt: skip
        self.streams = streams
        self._archive = archive
        self._providers = providers
        self._stats = stats
        self._faults = faults
        self._control = control
        self._latency_s = latency_s
        self._by_prefix = {
            prefix: exchange for exchange in exchanges.values() for prefix in exchange.prefixes
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if self._providers is not None and self._providers.serves(path):
            return await self._providers.handle(request, path, query)
        hub = self.streams.hub_for(request, path)
        if hub is not None:
            served = await self.streams.serve(request, hub)
            if isinstance(served, Answer):
                return _response(served, hub.exchange.now_ms())
            return served
        if self._archive.serves(path, query):
            return await self._archive.handle(request, path, query)
        exchange = next((e for start, e in self._by_prefix.items() if path.startswith(start)), None)
        if exchange is None:
            answer = await self._control.answer(
                request.method, path, parse_qs(query, keep_blank_values=True), request.read
            )
            return _response(answer, None)
        client = request.headers.get("X-Sim-Client") or request.remote or "unknown"
        endpoint = exchange.paths.get(path, "unknown")
        parameters = read(query)
        clock = exchange.markets.clock
        arrived_s = clock.monotonic_s()

        def count(status: int, fault: str) -> None:
            record = RequestRecord(
                exchange.name,
                endpoint,
                parameters.get(exchange.symbol_parameter, ""),
                client,
                status,
                arrived_s,
                clock.monotonic_s(),
                fault,
                _period(endpoint, parameters),
                query,
            )
            self._stats.count(record)

        if self._latency_s:
            await asyncio.sleep(clock.real_s(self._latency_s))
        try:
            answer = await self._exchange_answer(request, exchange, endpoint, parameters, client)
        except ConnectionCut as cut:
            count(0, str(cut))
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # never sent
        count(answer.status, answer.fault)
        if answer.rejected:
            self._stats.refuse(
                exchange.name, endpoint, query, answer.body[:300].decode("utf-8", "replace")
            )
        return _response(answer, exchange.now_ms() + answer.date_offset_ms)

    async def _exchange_answer(
        self, request: web.BaseRequest, exchange: Exchange, endpoint: str, query: dict[str, str],
        client: str,
    ) -> Answer:  # fmt: skip
        if endpoint == "unknown":
            answer = exchange.unknown_path()
            answer.rejected = True
            return answer
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"", "text/plain", rejected=True)
        if request.body_exists:
            refused = exchange.body_refused()
            if refused is not None:
                return refused

        admission = exchange.admit(client, endpoint, query)
        if admission.refused is not None:
            admission.refused.headers.update(admission.headers)
            return admission.refused
        target = {
            "exchange": exchange.name, "endpoint": endpoint, "client": client,
            "symbol": query.get(exchange.symbol_parameter, ""),
        }  # fmt: skip
        rule = self._faults.pick(target, exchange.markets.clock.elapsed_s())
        if rule is None:
            answer = _usual_answer(exchange, endpoint, query)
        else:
            self._stats.faults[rule.kind] += 1
            if rule.kind == "endless_continue":
                seconds = float(rule.get("seconds", _SECONDS[rule.kind]))
                clock = exchange.markets.clock
                await networks.continue_without_end(request, clock.real_s(seconds))
                raise ConnectionCut(rule.kind)
            answer = await self._faulty_answer(
                rule, exchange, endpoint, query, client, admission.counter
            )
            answer.fault = rule.kind
        answer.headers.update(admission.headers)
        return answer

    async def _faulty_answer(
        self, rule: Rule, exchange: Exchange, endpoint: str, query: dict[str, str], client: str,
        counter: str,
    ) -> Answer:  # fmt: skip
        kind, seconds = rule.kind, float(rule.get("seconds", _SECONDS.get(rule.kind, 0)))
        if seconds:
            await asyncio.sleep(exchange.markets.clock.real_s(seconds))
        if kind == "hold":
            await self._faults.hold(rule)
        if kind in ("reset", "hang"):
            raise ConnectionCut(kind)
        if kind == "status":
            return exchange.bad_status(int(rule.get("status")), rule.settings, client, counter)
        if kind in exchange.fault_kinds:
            return exchange.own_fault(rule.settings, endpoint, query)
        if kind == "clock_offset":
            return clock_offsets.answer(exchange, endpoint, query, rule.settings)
        if kind in damage.REPLACING:
            return damage.REPLACING[kind](exchange)
        if kind in networks.REFUSING:
            return networks.REFUSING[kind](rule.settings, exchange)
        if kind == "short_page":
            default = exchange.page_rows.get(endpoint, 2)
            asked = whole_number(query.get("limit", "")) or default
            rows = rule.get("rows")
            query["limit"] = str(max(1, asked // 2 if rows is None else min(int(rows), asked)))
        answer = _usual_answer(exchange, endpoint, query)
        if not answer.rejected and kind in damage.DAMAGING:
            variant = str(rule.get("variant", "high_below_low"))
            damage.DAMAGING[kind](answer, variant, exchange.shape)
        return answer


def _period(endpoint: str, query: Mapping[str, str]) -> str:
    timed = endpoint.endswith("klines") or endpoint == "open_interest"
    names = _PERIOD_NAMES if timed else ()
    return next((query[name] for name in names if name in query), "")


def _usual_answer(exchange: Exchange, endpoint: str, query: dict[str, str]) -> Answer:
    """What the exchange answers without a fault, the market's impossible candles included."""
    answer = exchange.answer(endpoint, query)
    market = exchange.markets.find(exchange.name, query.get(exchange.symbol_parameter, ""))
    if endpoint in _KLINES and market is not None and market.impossible:
        damage.impossible_candles(answer, market.impossible, exchange.shape)
    return answer


def _response(answer: Answer, now_ms: int | None) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    if now_ms is not None:
        headers["Date"] = formatdate(now_ms / 1000, usegmt=True)
    return web.Response(status=answer.status, body=answer.body, headers=headers)
