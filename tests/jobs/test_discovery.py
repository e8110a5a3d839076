"""Discovery into a real PostgreSQL, from the simulator and from recorded lists, over real HTTP."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from budgets.exchange_client import ExchangeClient
from config import load_settings
from data_collector.discovery import fetch_listed
from database import CoinRecord, Database, DatabaseUnavailable, SavedMarkets
from jobs import discovery
from jobs.context import JobFailed
from jobs.discovery import DiscoveryResult, run_discovery
from market.markets import Exchange
from market.timeframes import DAY_MS, MINUTE_MS
from tests.data_collector.test_fr_fetcher import settings_for
from tests.fixtures.clock import ManualClock
from tests.fixtures.exchange_answers import ANSWERS, our_key
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from timing.clock import now_ms
from venues import VENUES
from venues.errors import SourceDown
from venues.venue import Endpoint

ALL = tuple(Exchange)
# How the exchanges tell the time.
TIMES: dict[str, Callable[[int], dict[str, Any]]] = {
    "/fapi/v1/time": lambda ms: {"serverTime": ms},
    "/v5/market/time": lambda ms: {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"timeSecond": str(ms // 1000), "timeNano": str(ms * 10**6)},
        "time": ms,
    },
    "/api/v5/public/time": lambda ms: {"code": "0", "msg": "", "data": [{"ts": str(ms)}]},
}
LIST_OF_CONTRACTS = dict.fromkeys(Exchange, "instruments") | {Exchange.BINANCE: "exchange_info"}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


@pytest.fixture(scope="module")
def _lasting_simulator() -> Iterator[Simulator]:
    simulator = Simulator({**dict.fromkeys(Exchange, 20), "now": NOW_MS, "frozen": True})
    yield simulator
    simulator.stop()


@pytest.fixture
def exchanges(_lasting_simulator: Simulator) -> Simulator:
    """All exchanges, simulated; faults are for one test."""
    _lasting_simulator.delete("/sim/faults")
    _lasting_simulator.post("/sim/stats/reset")
    return _lasting_simulator


async def discover(
    simulator: Simulator,
    database: Database,
    asked: tuple[Exchange, ...] = ALL,
    wall_ms: int | None = None,
) -> DiscoveryResult:
    """Asks at `wall_ms` of this machine's clock, in truth at NOW_MS, with limits that nobody has
    used: OKX tells the time ten times in two seconds, of which a run takes five."""
    simulator.post("/sim/limits/reset")
    clock = ManualClock(wall_ms=now_ms() if wall_ms is None else wall_ms)
    async with ExchangeClient(settings_for(simulator), clock=clock) as client:
        result = await run_discovery(client, database, asked, "USDT")
    stats = simulator.stats()
    assert (stats["limits_broken_total"], stats["rejected_total"]) == (0, 0)
    return result


async def coins(database: Database) -> dict[str, CoinRecord]:
    return {record.market.key: record for record in await database.coin_records.list_coins()}


def to_collect(simulator: Simulator) -> dict[str, Mapping[str, Any]]:
    return {
        our_key(f"{m['exchange']}:{m['symbol']}"): m
        for m in simulator.get("/sim/markets")["markets"]
        if m["collected"]
    }


async def test_the_markets_to_collect_and_no_others(
    exchanges: Simulator, database: Database
) -> None:
    result = await discover(exchanges, database)
    expected = to_collect(exchanges)
    assert len(exchanges.get("/sim/markets")["markets"]) > len(expected)  # others share the lists
    assert result.found == dict.fromkeys(Exchange, 20)
    assert result.failures == {}
    assert result.saved[Exchange.BINANCE] == SavedMarkets(added=20, returned=0, delisted=0)
    assert result.requests == exchanges.stats()["total"]
    stored = await coins(database)
    assert stored.keys() == expected.keys()
    for key, record in stored.items():
        market = expected[key]
        assert (record.market.base, record.market.quote) == (market["base"], market["quote"])
        assert record.market.launched_ms == market["listed_ms"]
        assert record.active
        assert record.enabled
        just_listed = market["listed_ms"] > NOW_MS - DAY_MS  # perhaps without a trade
        assert record.turnover_24h is not None or just_listed
        assert (record.turnover_24h or 0) >= 0
        assert NOW_MS <= record.last_seen_ms <= NOW_MS + 60_000  # the exchanges' time
    turnovers = {
        t["symbol"]: float(t["quoteVolume"]) for t in exchanges.get("/fapi/v1/ticker/24hr")
    }
    for key, record in stored.items():
        if key.startswith("binance"):
            assert record.turnover_24h == turnovers[record.market.symbol]


async def test_again_changes_nothing(exchanges: Simulator, database: Database) -> None:
    await discover(exchanges, database)
    first = await coins(database)
    result = await discover(exchanges, database)
    assert set(result.saved.values()) == {SavedMarkets(added=0, returned=0, delisted=0)}
    assert (await coins(database)).keys() == first.keys()


@pytest.mark.parametrize("exchange", ALL)
async def test_markets_that_leave_become_inactive(
    start_simulator: StartSimulator, database: Database, exchange: Exchange
) -> None:
    simulator = start_simulator(**dict.fromkeys(Exchange, 5), now=NOW_MS, frozen=True)
    await discover(simulator, database)
    gone = {"kind": "delist", "exchange": exchange, "symbol": ANSWERS[exchange].native("ETHUSDT")}
    (other, *_) = (each for each in ALL if each is not exchange)
    simulator.post("/sim/faults", gone)
    simulator.post("/sim/faults", {"kind": "list_new", "exchange": other, "symbol": "NEWCOIN"})
    result = await discover(simulator, database)
    assert result.saved == {
        each: SavedMarkets(added=int(each is other), returned=0, delisted=int(each is exchange))
        for each in ALL
    }
    stored = await coins(database)
    inactive = {key for key, record in stored.items() if not record.active}
    assert inactive == {f"{exchange}:ETHUSDT"}
    assert stored[f"{other}:NEWCOINUSDT"].active


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "status", "status": 503},
        {"kind": "html_200"},
        {"kind": "truncated_json"},
        {"kind": "wrong_types"},
        {"kind": "geo"},
    ],
    ids=lambda rule: rule["kind"],
)
@pytest.mark.parametrize("down", ALL)
async def test_an_exchange_that_fails_leaves_its_coins_alone(
    exchanges: Simulator, database: Database, down: Exchange, rule: dict[str, object]
) -> None:
    await discover(exchanges, database)
    before = await coins(database)
    exchanges.post("/sim/faults", {**rule, "exchange": down, "endpoint": LIST_OF_CONTRACTS[down]})
    result = await discover(exchanges, database)
    assert result.failures.keys() == {down}
    assert str(down) in result.failures[down]
    assert result.found == dict.fromkeys(set(ALL) - {down}, 20)
    after = await coins(database)
    for key, record in before.items():
        if record.market.exchange is down:
            assert after[key] == record
        else:
            assert after[key].last_seen_ms >= record.last_seen_ms


async def test_without_turnover_the_markets_are_stored_all_the_same(
    exchanges: Simulator, database: Database
) -> None:
    for endpoint in ("ticker_24h", "tickers"):
        exchanges.post("/sim/faults", {"kind": "status", "status": 500, "endpoint": endpoint})
    result = await discover(exchanges, database)
    assert result.failures == {}
    stored = await coins(database)
    assert len(stored) == 20 * len(ALL)
    assert {record.turnover_24h for record in stored.values()} == {None}


async def test_a_database_that_is_away_is_told(exchanges: Simulator) -> None:
    with pytest.raises(DatabaseUnavailable):
        await discover(exchanges, Database("postgresql://nobody@127.0.0.1:1/none"))


# --- recorded lists ------------------------------------------------------------------------------


class ServedFiles:
    """A real HTTP server that answers each path with bodies in turn; the last one stays."""

    def __init__(self, bodies: Mapping[str, list[bytes]]) -> None:
        self.bodies = {path: list(answers) for path, answers in bodies.items()}
        self.asked: list[str] = []
        self.app = web.Application()
        self.app.router.add_get("/{path:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        answers = self.bodies.get(request.path)
        if request.path in TIMES:
            return web.json_response(TIMES[request.path](now_ms()))
        if answers is None:
            return web.Response(status=404, text="{}", content_type="application/json")
        body = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.Response(body=body, content_type="application/json")


async def discover_served(
    bodies: Mapping[str, list[bytes]], database: Database, exchange: Exchange
) -> tuple[DiscoveryResult, ServedFiles]:
    served = ServedFiles(bodies)
    async with TestServer(served.app) as server:
        address = str(server.make_url("/"))
        settings = load_settings(**{f"{each}_base_url": address for each in Exchange})
        async with ExchangeClient(settings, clock=ManualClock(wall_ms=now_ms())) as client:
            return await run_discovery(client, database, [exchange], "USDT"), served


async def test_the_recorded_list_of_binance(recorded_data: Path, database: Database) -> None:
    body = (recorded_data / "binance" / "exchangeInfo_2026-07-03T1708Z.json").read_bytes()
    symbols = json.loads(body)["symbols"]
    assert len(symbols) == 820
    result, _ = await discover_served({"/fapi/v1/exchangeInfo": [body]}, database, Exchange.BINANCE)
    # Of 820: 122 settling, 118 stocks and metals, 43 in other quotes, 4 quarterlies, 2 pending.
    assert result.found == {Exchange.BINANCE: 530}
    stored = await coins(database)
    kind = {entry["symbol"]: entry for entry in symbols}
    assert {kind[r.market.symbol]["contractType"] for r in stored.values()} == {"PERPETUAL"}
    assert {kind[r.market.symbol]["status"] for r in stored.values()} == {"TRADING"}
    assert {r.market.quote for r in stored.values()} == {"USDT"}
    assert "binance:TSLAUSDT" not in stored
    assert stored["binance:龙虾USDT"].market.base == "龙虾"
    assert stored["binance:BTCUSDT"].market.launched_ms == kind["BTCUSDT"]["onboardDate"]


async def test_the_recorded_list_of_bybit(recorded_data: Path, database: Database) -> None:
    path = recorded_data / "bybit" / "instruments-info_linear_2023-02-24_testnet.json"
    result, _ = await discover_served(
        {"/v5/market/instruments-info": [path.read_bytes()]}, database, Exchange.BYBIT
    )
    assert result.found == {Exchange.BYBIT: 193}  # of 214, 21 are quoted in USD
    assert "bybit:BTCPERP" not in await coins(database)


def bybit_page(symbols: list[str], cursor: str) -> bytes:
    contracts = [
        {
            "symbol": symbol,
            "contractType": "LinearPerpetual",
            "status": "Trading",
            "baseCoin": symbol.removesuffix("USDT"),
            "quoteCoin": "USDT",
            "settleCoin": "USDT",
            "launchTime": "1585526400000",
            "fundingInterval": 480,
        }
        for symbol in symbols
    ]
    result = {"category": "linear", "list": contracts, "nextPageCursor": cursor}
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": 1}).encode()


async def test_all_pages_are_read(database: Database) -> None:
    pages = [
        bybit_page(["BTCUSDT", "ETHUSDT"], "first%3DETHUSDT"),
        bybit_page(["SOLUSDT"], "first%3DSOLUSDT"),
        bybit_page([], "first%3Dnothing"),
    ]
    result, served = await discover_served(
        {"/v5/market/instruments-info": pages}, database, Exchange.BYBIT
    )
    assert result.found == {Exchange.BYBIT: 3}
    asked = [query for query in served.asked if "instruments-info" in query]
    assert len(asked) == 3
    assert all("limit=1000" in query for query in asked)
    assert "cursor" not in asked[0]


async def test_a_cursor_that_repeats_ends_no_market(database: Database) -> None:
    """Half a list would look as if the other half had been delisted."""
    good = {"/v5/market/instruments-info": [bybit_page(["BTCUSDT", "ETHUSDT"], "")]}
    await discover_served(good, database, Exchange.BYBIT)
    circle = {"/v5/market/instruments-info": [bybit_page(["BTCUSDT"], "again")]}
    result, served = await discover_served(circle, database, Exchange.BYBIT)
    assert result.failures.keys() == {Exchange.BYBIT}
    assert len(served.asked) < 10
    assert all(record.active for record in (await coins(database)).values())


async def test_an_empty_list_ends_no_market(database: Database) -> None:
    good = {"/v5/market/instruments-info": [bybit_page(["BTCUSDT"], "")]}
    await discover_served(good, database, Exchange.BYBIT)
    empty = {"/v5/market/instruments-info": [bybit_page([], "")]}
    result, _ = await discover_served(empty, database, Exchange.BYBIT)
    assert "lists no USDT perpetual" in result.failures[Exchange.BYBIT]
    assert all(record.active for record in (await coins(database)).values())


async def test_a_contract_that_cannot_be_read_is_left_out_alone(database: Database) -> None:
    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    good = bybit_page(names, "")
    await discover_served({"/v5/market/instruments-info": [good]}, database, Exchange.BYBIT)
    body = json.loads(good)
    body["result"]["list"][1] |= {"status": {"odd": 1}, "launchTime": "9" * 30}
    body["result"]["list"].insert(0, {"symbol": ["NEWUSDT"]})
    odd = json.dumps(body).encode()
    result, _ = await discover_served(
        {"/v5/market/instruments-info": [odd]}, database, Exchange.BYBIT
    )
    assert result.failures == {}
    told = "ETHUSDT: its entry in the list of markets cannot be read"
    assert result.saved[Exchange.BYBIT] == SavedMarkets(unread=(told,))
    assert result.as_json()["refused"] == {"bybit": [told]}
    assert result.found == {Exchange.BYBIT: 2}
    stored = await coins(database)
    assert {record.market.symbol for record in stored.values() if record.active} == set(names)


async def test_a_contract_without_a_status_or_a_usable_name_is_kept_and_told(
    database: Database,
) -> None:
    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    path = "/v5/market/instruments-info"
    await discover_served({path: [bybit_page(names, "")]}, database, Exchange.BYBIT)
    body = json.loads(bybit_page([*names, "A/BUSDT"], ""))
    body["result"]["list"][1]["status"] = None
    body["result"]["list"][2]["symbol"] = "SOLUSDT "
    odd = json.dumps(body).encode()
    result, _ = await discover_served({path: [odd]}, database, Exchange.BYBIT)
    assert result.as_json()["refused"] == {
        "bybit": [
            "A/BUSDT: its name, or its coin's, cannot be used",
            "ETHUSDT: its entry in the list of markets does not say what it is or whether it"
            " trades",
            "SOLUSDT: its name, or its coin's, cannot be used",
        ]
    }
    stored = await coins(database)
    assert {record.market.symbol for record in stored.values() if record.active} == set(names)


def test_every_exchange_tells_its_time_here() -> None:
    assert set(TIMES) == {venue.table(Endpoint.TIME).path for venue in VENUES.values()}


# What else a list may say of a contract that traded: it does so no more, and will not for now.
NO_MORE = {
    Exchange.BINANCE: ("PRE_SETTLE", "SETTLING", "CLOSE", "PENDING_TRADING"),
    Exchange.BYBIT: ("PreLaunch", "Delivering", "Closed"),
    Exchange.OKX: ("preopen", "test", "expired"),
}


def list_of(exchange: Exchange, states: Mapping[str, str | None]) -> dict[str, list[bytes]]:
    """The list of contracts of coins, in these states (None: trading), by its path."""
    answers = ANSWERS[exchange]
    rows = [
        answers.contract(answers.native(f"{base}USDT"), base)
        | ({} if state is None else {answers.names["status"]: state})
        for base, state in states.items()
    ]
    body = answers.contracts(",".join(map(json.dumps, rows))).replace(b"first%3D1", b"")
    return {VENUES[exchange].table(Endpoint.INSTRUMENTS).path: [body]}


@pytest.mark.parametrize(
    ("exchange", "state"), [(each, state) for each, states in NO_MORE.items() for state in states]
)
async def test_a_contract_that_trades_no_more_is_not_collected(
    database: Database, exchange: Exchange, state: str
) -> None:
    trading: dict[str, str | None] = {"BTC": None, "ETH": None, "SOL": None}
    await discover_served(list_of(exchange, trading), database, exchange)
    before = await coins(database)
    ended = list_of(exchange, trading | {"ETH": state, "NEW": state})
    result, _ = await discover_served(ended, database, exchange)
    assert result.saved[exchange] == SavedMarkets(delisted=1)
    after = await coins(database)
    assert {key for key, record in after.items() if record.active} == {
        f"{exchange}:BTCUSDT", f"{exchange}:SOLUSDT"
    }  # fmt: skip
    assert after.keys() == before.keys()
    # It comes back within the day, as the contract it was.
    result, _ = await discover_served(list_of(exchange, trading), database, exchange)
    assert result.saved[exchange] == SavedMarkets(returned=1)
    again = (await coins(database))[f"{exchange}:ETHUSDT"]
    assert again.active and again.market == before[f"{exchange}:ETHUSDT"].market


async def test_a_contract_that_okx_suspends_stays_and_is_told(database: Database) -> None:
    okx = Exchange.OKX
    trading: dict[str, str | None] = {"BTC": None, "ETH": None}
    await discover_served(list_of(okx, trading), database, okx)
    suspended = list_of(okx, trading | {"ETH": "suspend", "NEW": "suspend"})
    for _ in range(2):
        result, _ = await discover_served(suspended, database, okx)
        assert result.saved[okx] == SavedMarkets(unread=("ETHUSDT: suspended at the exchange",))
        stored = await coins(database)
        assert {key for key, record in stored.items() if record.active} == {
            "okx:BTCUSDT", "okx:ETHUSDT"
        }  # fmt: skip
    result, _ = await discover_served(list_of(okx, trading), database, okx)
    assert result.saved[okx] == SavedMarkets()


@pytest.mark.parametrize(
    ("exchange", "ahead_ms"),
    [(ALL[0], 9 * DAY_MS), (ALL[1], -9 * DAY_MS), (ALL[2], 9 * DAY_MS)],
)
async def test_a_list_of_an_exchange_whose_clock_is_wrong_is_not_taken_in(
    exchanges: Simulator, database: Database, exchange: Exchange, ahead_ms: int
) -> None:
    await discover(exchanges, database, wall_ms=NOW_MS)
    before = await coins(database)
    fault = {"kind": "clock_offset", "offset_ms": ahead_ms, "variant": "date"}
    exchanges.post("/sim/faults", {**fault, "exchange": exchange})
    result = await discover(exchanges, database, wall_ms=NOW_MS)
    side = "ahead of" if ahead_ms > 0 else "behind"
    assert result.failures.keys() == {exchange}
    cause = f"{exchange} time: {exchange}'s clock is 777600 s {side} "
    assert result.failures[exchange].startswith(cause)
    assert result.failures[exchange].endswith("'s clock and this machine's clock")
    assert result.found == dict.fromkeys(set(ALL) - {exchange}, 20)
    after = await coins(database)
    assert all(after[key] == record for key, record in before.items() if key.startswith(exchange))
    state = (await database.listings.states(ALL, "USDT"))[exchange]
    assert (state.failures, state.failed_ms) == (1, NOW_MS)
    assert state.failure == result.failures[exchange]


async def test_an_exchange_that_does_not_tell_the_time_is_taken_in_at_the_others(
    exchanges: Simulator, database: Database
) -> None:
    fault = {"kind": "status", "status": 404, "endpoint": "time"}
    exchanges.post("/sim/faults", {**fault, "exchange": "bybit"})
    wall_ms = NOW_MS + 3 * DAY_MS
    assert (await discover(exchanges, database, wall_ms=wall_ms)).failures == {}
    stored = await coins(database)
    assert len(stored) == 20 * len(ALL)
    assert {record.last_seen_ms // MINUTE_MS for record in stored.values()} == {NOW_MS // MINUTE_MS}
    found = await database.listings.states(ALL, "USDT")
    assert {state.discovered_ms for state in found.values()} == {wall_ms}
    # Where none does, no list has a time, and each exchange says why.
    exchanges.post("/sim/faults", [{**fault, "exchange": each} for each in ("binance", "okx")])
    result = await discover(exchanges, database, wall_ms=wall_ms)
    assert result.failures.keys() == set(ALL)
    for exchange, why in result.failures.items():
        assert why.startswith(f"{exchange} time: ") and "404" in why


async def test_a_list_that_raises_what_nobody_foresaw_fails_alone(
    exchanges: Simulator, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(run: Any, exchange: Exchange, *rest: Any) -> Any:
        if exchange is Exchange.BYBIT:
            raise RecursionError("maximum recursion depth exceeded")
        return await fetch_listed(run, exchange, *rest)

    monkeypatch.setattr(discovery, "fetch_listed", fetch)
    result = await discover(exchanges, database)
    assert result.found == dict.fromkeys(set(ALL) - {Exchange.BYBIT}, 20)
    assert result.failures[Exchange.BYBIT] == "bybit: internal error: RecursionError"
    state = await database.listings.states(ALL, "USDT")
    assert (state[Exchange.BYBIT].failures, state[Exchange.BINANCE].failures) == (1, 0)


@pytest.mark.parametrize("exchange", ALL)
async def test_a_short_list_changes_nothing_until_it_says_so_again(
    exchanges: Simulator, database: Database, exchange: Exchange
) -> None:
    await discover(exchanges, database)
    short = {"kind": "short_list", "exchange": exchange, "endpoint": LIST_OF_CONTRACTS[exchange]}
    exchanges.post("/sim/faults", short)
    result = await discover(exchanges, database)
    unconfirmed = result.saved[exchange].unconfirmed
    assert unconfirmed > 3
    assert result.as_json()["unconfirmed"] == {exchange: unconfirmed}
    assert all(record.active for record in (await coins(database)).values())
    exchanges.delete("/sim/faults")
    assert (await discover(exchanges, database)).saved[exchange].unconfirmed == 0
    assert all(record.active for record in (await coins(database)).values())


async def test_known_contracts_that_a_list_names_unclearly_stay(
    exchanges: Simulator, database: Database
) -> None:
    await discover(exchanges, database)
    before = await coins(database)
    exchanges.post("/sim/faults", {"kind": "nonsense", "variant": "unclear_entries"})
    result = await discover(exchanges, database)
    assert {saved.delisted for saved in result.saved.values()} == {0}
    assert all(record.active for record in (await coins(database)).values())
    refused: Any = result.as_json()["refused"]
    for exchange in ALL:
        named = {text.partition(": ")[0] for text in refused[exchange]}
        assert named and {f"{exchange}:{name}" for name in named} <= before.keys()


async def test_a_failed_discovery_names_each_exchange_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(*_: object) -> DiscoveryResult:
        errors = {
            exchange: SourceDown("no answer within 10 s", exchange=exchange, endpoint="instruments")
            for exchange in (Exchange.BINANCE, Exchange.BYBIT)
        }
        return DiscoveryResult({}, {}, {name: str(why) for name, why in errors.items()}, 2, 0)

    monkeypatch.setattr(discovery, "run_discovery", run)
    context: Any = SimpleNamespace(
        settings=load_settings(), client=None, database=None, last_as_of=None
    )
    with pytest.raises(JobFailed) as caught:
        await discovery.list_markets(context, Mock())
    assert str(caught.value) == (
        "binance instruments: no answer within 10 s; bybit instruments: no answer within 10 s"
    )
