"""The simulator's control API under /sim: clock, true data, faults, statistics."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson

from simulator.answers import Answer, dump
from simulator.clock_settings import clock_settings
from simulator.events import apply_event
from simulator.exchange import Exchange
from simulator.exchange_markets import ExchangeMarkets
from simulator.exchanges import ARCHIVE
from simulator.faults import EVENTS, FaultRules, InvalidRule
from simulator.parameters import whole_number
from simulator.stats import Stats
from simulator.streams.connections import Streams
from simulator.truth import InvalidQuery, market_truth, regular_settlements
from simulator.universe import GeneratorContext

_INDEX: Final = """Simulated exchanges, on one port. Candles of 1m to 1d. Use this address as:

{exchanges}

GET    /sim/markets?exchange=                 all markets, and which of them must be collected
GET    /sim/truth?timeframe=4h                the true values of merged rows; exchange=, symbol=
                                              (both repeatable), as_of=, candles=499,
                                              funding_history=, oi_as_of=, funding_as_of=
GET    /sim/recorded?exchange=&symbol=&interval=   native candles of recorded series
GET    /sim/funding                           regular settlements; as_of=, funding_history=400
GET    /sim/stats, POST /sim/stats/reset      requests, weights, limits broken, rejections
GET    /sim/requests                          the last requests, with times of arrival and answer
GET    /sim/clock, POST /sim/clock            now (such as "2026-03-01T23:59:50Z"), advance_ms,
                                              pass_ms, frozen, speed, skew_ms by exchange
GET    /sim/faults, POST, DELETE              a rule or a list of rules; see --help; number=
GET    /sim/held?count=1&deadline_s=30        waits until `count` answers are held (kind hold)
POST   /sim/limits/reset                      empties all windows, ends all bans
GET    /sim/providers                         with --providers: the hosts, and the classes of faults
GET    /sim/providers/faults, POST, DELETE    rules by host: {{"host": "eth.drpc.org", "class":
                                              "rate_limited", "share": 0.5, "seconds": 60}}
GET    /sim/providers/requests, DELETE        what they were asked, limits broken; host=, after=
GET    /sim/providers/truth?assets=btc,eth    true prices; /truth/chain?chain=&address=,
                                              /truth/whales?chain=&first=&last=&min_usd=
GET    /sim/streams, POST /sim/streams        the open WebSockets, and the streams' settings; any of
                                              silent_closings, life_s, closing_delay_s by exchange,
                                              storm_per_s, buffer_bytes
"""

Query = Mapping[str, list[str]]


class Control:
    """Answers the paths under /sim; they count against no rate limit."""

    def __init__(
        self, markets: ExchangeMarkets, exchanges: Mapping[str, Exchange], stats: Stats,
        faults: FaultRules, context: GeneratorContext | None,
        recorded_candles: Callable[[str, str, str], Any], streams: Streams,
    ) -> None:  # fmt: skip
        self._streams = streams
        self._simulated = markets
        self._exchanges = exchanges
        self._stats = stats
        self._faults = faults
        self._context = context
        self._recorded_candles = recorded_candles
        self._routes: dict[tuple[str, str], Callable[[Query, Any], Any]] = {
            ("GET", "/sim/clock"): lambda query, body: self._simulated.clock.as_json(),
            ("POST", "/sim/clock"): self._set_clock,
            ("GET", "/sim/truth"): self._truth,
            ("GET", "/sim/funding"): self._funding,
            ("GET", "/sim/markets"): self._markets,
            ("GET", "/sim/recorded"): self._recorded,
            ("GET", "/sim/stats"): lambda query, body: {
                **self._stats.as_json(),
                "streams": self._streams.stats(),
            },
            ("POST", "/sim/stats/reset"): self._reset_stats,
            ("GET", "/sim/requests"): lambda query, body: {
                "requests": [record._asdict() for record in self._stats.recent_requests]
            },
            ("POST", "/sim/limits/reset"): self._reset_limits,
            ("GET", "/sim/faults"): lambda query, body: self._faults.as_json(),
            ("POST", "/sim/faults"): self._add_faults,
            ("DELETE", "/sim/faults"): self._clear_faults,
            ("GET", "/sim/held"): self._wait_until_held,
            ("GET", "/sim/streams"): self._show_streams,
            ("POST", "/sim/streams"): self._set_streams,
        }

    async def answer(
        self, method: str, path: str, query: Query, read: Callable[[], Awaitable[bytes]]
    ) -> Answer:
        """Answers one request; `detail` of a 400 or 404 says what is wrong."""
        if path in ("/", "/sim", "/sim/"):
            return Answer(200, self._index().encode(), "text/plain; charset=utf-8")
        route = self._routes.get((method, path))
        if route is None:
            return Answer(404, dump({"detail": f"no {method} {path}; see GET /sim"}))
        try:
            body = orjson.loads(await read() or b"{}") if method == "POST" else None
            found = route(query, body)
            return Answer(200, dump(await found if inspect.isawaitable(found) else found))
        except (InvalidQuery, InvalidRule, ValueError, TypeError, KeyError) as error:
            return Answer(400, dump({"detail": str(error)}))

    def _index(self) -> str:
        lines = [
            f"{f'{name.upper()}_BASE_URL':<20}{exchange.title}: "
            + " ".join(f"{prefix}..." for prefix in exchange.prefixes)
            for name, exchange in self._exchanges.items()
        ]
        lines += [
            f"{f'{name.upper()}_WS_URL':<20}with ws://: "
            + " ".join(f"{prefix}..." for prefix in exchange.streams.prefixes)
            for name, exchange in self._exchanges.items()
            if exchange.streams is not None
        ]
        lines.append(f"{'ARCHIVE_URL':<20}{ARCHIVE}: /data/... and listings, /?prefix=")
        return _INDEX.format(exchanges="\n".join(lines))

    def add_faults(self, rules: Any) -> list[dict[str, Any]]:
        """Adds one rule or a list; returns the applied events and the new rules."""
        found = rules if isinstance(rules, list) else [rules]
        for rule in found:
            if not isinstance(rule, dict):
                raise InvalidRule("a rule is a JSON object")
            self._faults.check(rule)
        return [
            self._apply(rule)
            if rule["kind"] in EVENTS
            else self._faults.add(rule, self._simulated.clock.elapsed_s()).as_json()
            for rule in found
        ]

    def _apply(self, event: dict[str, Any]) -> dict[str, Any]:
        done = apply_event(self._simulated, self._exchanges, self._context, event)
        exchange, _, symbol = str(done["market"]).partition(":")
        market = self._simulated.by_exchange[exchange][symbol]
        self._streams.market_changed(event["kind"], market, event)
        return done

    def _show_streams(self, query: Query, body: Any) -> Any:
        return {**self._streams.settings.as_json(), "connections": self._streams.sessions()}

    def _set_streams(self, query: Query, body: Any) -> Any:
        self._streams.settings.set(body)
        return self._streams.settings.as_json()

    def _add_faults(self, query: Query, body: Any) -> Any:
        return self.add_faults(body)

    def _clear_faults(self, query: Query, body: Any) -> Any:
        self._faults.clear(_number(query, "number", 0) or None)
        return self._faults.as_json()

    async def _wait_until_held(self, query: Query, body: Any) -> Any:
        count, deadline_s = _number(query, "count", 1), _number(query, "deadline_s", 30)
        return {"held": await self._faults.wait_until_held(count, deadline_s)}

    def _reset_stats(self, query: Query, body: Any) -> Any:
        self._stats.reset()
        self._streams.reset_stats()
        return {}

    def _reset_limits(self, query: Query, body: Any) -> Any:
        for exchange in self._exchanges.values():
            exchange.reset_limits()
        self._streams.reset_limits()
        return {}

    def _set_clock(self, query: Query, body: Any) -> Any:
        self._simulated.clock.set(**clock_settings(body))
        self._streams.advance()  # what is due by now is on its way before the answer
        return self._simulated.clock.as_json()

    def _chosen(self, query: Query) -> list[Any]:
        exchanges, symbols = _listed(query, "exchange"), _listed(query, "symbol")
        unknown = [name for name in exchanges if name not in self._simulated.by_exchange]
        if unknown:
            raise InvalidQuery(f"exchange is one of {', '.join(self._simulated.by_exchange)}")
        return [
            market
            for exchange, markets in self._simulated.by_exchange.items()
            if not exchanges or exchange in exchanges
            for market in markets.values()
            if (market.symbol in symbols if symbols else market.collected)
        ]

    def _markets(self, query: Query, body: Any) -> Any:
        markets = [
            {
                "exchange": m.exchange,
                "symbol": m.symbol,
                "base": m.base,
                "quote": m.quote,
                "status": m.status,
                "contract_type": m.contract_type,
                "collected": m.collected,
                "listed_ms": m.listed_ms,
                "first_candle_ms": m.candles.first_ms,
                "funding_hours": m.funding.hours_at(self._simulated.clock.now_ms()),
            }
            for exchange, listed in self._simulated.by_exchange.items()
            if exchange in (_listed(query, "exchange") or self._simulated.by_exchange)
            for m in listed.values()
        ]
        return {"markets": markets}

    async def _truth(self, query: Query, body: Any) -> Any:
        clock = self._simulated.clock
        timeframe = (_listed(query, "timeframe") or ["4h"])[0]
        # A collector uses the earliest of the exchanges' clocks.
        listed = self._simulated.by_exchange
        now_ms = min(
            clock.now_ms(name) for name in listed if listed[name] or not any(listed.values())
        )
        as_of_ms = _number(query, "as_of", now_ms)
        candles = _number(query, "candles", 499)
        oi_ms = _number(query, "oi_as_of", as_of_ms)
        funding_ms = _number(query, "funding_as_of", as_of_ms)
        history = _number(query, "funding_history", 0)
        markets = []
        for market in self._chosen(query):
            truth = market_truth(
                market, timeframe, as_of_ms, candles, oi_as_of_ms=oi_ms,
                funding_as_of_ms=funding_ms, funding_history=history,
            )  # fmt: skip
            markets.append(truth)
            await asyncio.sleep(0)  # lets exchange requests be answered meanwhile
        return {"timeframe": timeframe, "as_of": as_of_ms, "markets": markets}

    def _funding(self, query: Query, body: Any) -> Any:
        now_ms = _number(query, "as_of", self._simulated.clock.now_ms())
        history = _number(query, "funding_history", 400)
        return {
            "as_of": now_ms,
            "markets": [
                {
                    "exchange": market.exchange,
                    "symbol": market.symbol,
                    "base": market.base,
                    "quote": market.quote,
                    "interval_hours": market.funding.hours_at(now_ms),
                    "rows": [
                        [item.time_ms, item.rate / 10**8]
                        for item in regular_settlements(market, now_ms, None, history)
                    ],
                }
                for market in self._chosen(query)
            ],
        }

    def _recorded(self, query: Query, body: Any) -> Any:
        names = [(_listed(query, name) or [""])[0] for name in ("exchange", "symbol", "interval")]
        return self._recorded_candles(*names)


def _listed(query: Query, name: str) -> list[str]:
    return [item for value in query.get(name, []) for item in value.split(",") if item]


def _number(query: Query, name: str, default: int) -> int:
    values = query.get(name)
    if not values:
        return default
    number = whole_number(values[-1])
    if number is None or number > 10**15 or (name == "candles" and not 0 < number <= 5000):
        most = 5000 if name == "candles" else 10**15
        raise InvalidQuery(f"{name} must be a whole number of at most {most}")
    return number
