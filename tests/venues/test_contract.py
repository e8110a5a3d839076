"""What every exchange's file must hold, run over all of them."""

import ast
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from multidict import CIMultiDict

import venues
from budgets.refusals import judge
from data_collector.api_parser import (
    parse_funding,
    parse_instruments,
    parse_klines,
    parse_open_interest,
    parse_schedule,
    parse_server_time,
    parse_tickers,
)
from data_collector.url_builder import history_request, listing_request, source_period
from facade.exchanges import FACADES
from market.markets import Exchange, Market
from market.timeframes import COLLECTED, Timeframe
from tests.venues.samples import samples_of
from venues import VENUES
from venues.errors import (
    BadPayload,
    BadRequest,
    Banned,
    ExchangeError,
    RateLimited,
    Restricted,
    SourceDown,
    SymbolGone,
    WindowRefused,
)
from venues.venue import Endpoint, EndpointTable, Venue

ROOT: Final = Path(__file__).resolve().parents[2]
HISTORY: Final = (Endpoint.KLINES, Endpoint.OPEN_INTEREST, Endpoint.FUNDING)
NEEDED: Final = {*HISTORY, Endpoint.TIME, Endpoint.INSTRUMENTS, Endpoint.TICKERS}
LEAVES: Final = {
    *(BadRequest, Banned, RateLimited, Restricted, SourceDown, SymbolGone, WindowRefused),
}
KNOW: Final = ("market.markets", "venues")  # who imports these has an exchange in hand
NOW_MS: Final = 1_786_820_400_000


@pytest.fixture(params=list(Exchange))
def exchange(request: pytest.FixtureRequest) -> Exchange:
    chosen: Exchange = request.param
    return chosen


@pytest.fixture
def venue(exchange: Exchange) -> Venue:
    return VENUES[exchange]


def tables(venue: Venue) -> dict[Endpoint, EndpointTable]:
    return {endpoint: table for endpoint, table in venue.endpoints.items() if table is not None}


def all_tables(venue: Venue) -> list[EndpointTable]:
    """Those of old rows, too."""
    found = list(tables(venue).values())
    return found + [table.beyond for table in found if table.beyond is not None]


# --- the tables ----------------------------------------------------------------------------------


def test_every_exchange_has_its_venue_in_the_file_of_its_name() -> None:
    assert list(VENUES) == list(Exchange)
    for exchange, venue in VENUES.items():
        assert venue.exchange is exchange
        assert (ROOT / "venues" / f"{exchange}.py").is_file()


def test_a_file_without_its_venue_is_refused(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert venues._venue(exchange) is VENUES[exchange]
    others = [each for name, each in VENUES.items() if name is not exchange]
    for wrong in (*others, None):
        monkeypatch.setattr(f"venues.{exchange}.VENUE", wrong)
        with pytest.raises(TypeError, match=rf"venues/{exchange}\.py: VENUE must be the Venue of"):
            venues._venue(exchange)


def test_the_address_is_one(venue: Venue) -> None:
    parts = urlsplit(venue.base_url)
    assert (parts.scheme, parts.path, parts.query, parts.fragment) == ("https", "", "", "")
    assert parts.netloc


def test_every_endpoint_has_a_table_or_a_stated_none(venue: Venue) -> None:
    assert set(venue.endpoints) == set(Endpoint)
    assert tables(venue).keys() >= NEEDED | set(venue.schedule)
    assert len({table.path for table in all_tables(venue)}) == len(all_tables(venue))
    for endpoint, table in tables(venue).items():
        assert table.path.startswith("/")
        assert bool(table.periods) == bool(table.period) == (endpoint in HISTORY[:2])
        if endpoint in HISTORY:
            assert table.page_limit > 0
        if table.beyond is not None:
            assert (table.newest_rows > table.page_limit) and table.beyond.beyond is None
            for name in ("symbol", "period", "start", "end", "order", "periods"):
                assert getattr(table.beyond, name) == getattr(table, name)


def test_candles_of_every_collected_timeframe_are_served(exchange: Exchange, venue: Venue) -> None:
    for timeframe in COLLECTED:
        assert source_period(exchange, Endpoint.KLINES, timeframe) is timeframe
        finer = source_period(exchange, Endpoint.OPEN_INTEREST, timeframe)
        assert finer is None or timeframe.interval_ms % finer.interval_ms == 0
    for endpoint in HISTORY[:2]:
        words = venue.table(endpoint).periods
        assert len(set(words.values())) == len(words)
        assert all(re.fullmatch(r"\d+[mhdwM]", word) for word in words)


def test_every_request_counts_against_a_limit_that_exists(venue: Venue) -> None:
    asked = {table.counter for table in all_tables(venue)}
    passed_through = {path.counter for path in FACADES[venue.exchange].paths.values()}
    assert asked | passed_through == set(venue.limits)
    for limit in venue.limits.values():
        assert limit.quantity > 0
        assert limit.window_s > 0
        assert limit.window_s == 60 or not limit.at_full_minutes
    for table in all_tables(venue):
        bounds = [largest for largest, _ in table.weights]
        assert bounds == sorted(bounds)
        assert bounds[-1] >= table.page_limit
        assert table.weight(table.page_limit) <= venue.limits[table.counter].quantity


def test_the_cheapest_candles_cost_no_more_than_one(venue: Venue) -> None:
    table = venue.table(Endpoint.KLINES)
    assert 1 < venue.cheapest_candles <= table.page_limit
    assert table.weight(venue.cheapest_candles) == table.weight(1)


def test_what_is_refused_means_one_of_the_leaves(venue: Venue) -> None:
    assert set(venue.statuses.values()) | set(venue.codes.values()) <= LEAVES
    assert all(400 <= status < 600 for status in venue.statuses)
    assert venue.statuses[429] is RateLimited
    assert venue.default_ban_s is None or venue.default_ban_s > 0
    assert venue.default_pause_s is None or venue.default_pause_s > 0


# --- requests ------------------------------------------------------------------------------------


def test_requests_name_the_market_as_the_exchange_does(exchange: Exchange) -> None:
    market = Market(exchange, "XUSDT", "X", "USDT", native="X-USDT-SWAP")
    for endpoint in HISTORY:
        period = None if endpoint is Endpoint.FUNDING else Timeframe.H4
        request = history_request(
            market, endpoint, start_ms=NOW_MS, end_ms=NOW_MS, limit=1, period=period
        )
        assert "=X-USDT-SWAP&" in f"{request.target}&"
        assert request.symbol == "XUSDT"
    assert Market(exchange, "XUSDT", "X", "USDT").native == "XUSDT"


# --- answers -------------------------------------------------------------------------------------


def test_the_clock(exchange: Exchange) -> None:
    body, time_ms = samples_of(exchange).time
    assert parse_server_time(exchange, body) == time_ms


def test_candles(exchange: Exchange) -> None:
    samples = samples_of(exchange)
    body, interval_ms, candles = samples.klines
    page = parse_klines(samples.market, body, interval_ms=interval_ms)
    assert page.rows == candles
    assert (page.first_ms, page.last_ms) == (candles[0].open_time_ms, candles[-1].open_time_ms)
    assert page.sent == len(candles) > 1


def test_open_interest(exchange: Exchange) -> None:
    samples = samples_of(exchange)
    body, interval_ms, rows = samples.open_interest
    assert parse_open_interest(samples.market, body, interval_ms=interval_ms).rows == rows
    assert len(rows) > 1


def test_funding(exchange: Exchange) -> None:
    samples = samples_of(exchange)
    body, rows = samples.funding
    assert parse_funding(samples.market, body).rows == rows
    assert len(rows) > 1


def test_instruments(exchange: Exchange) -> None:
    body, expected = samples_of(exchange).instruments
    page = parse_instruments(exchange, body, quote="USDT")
    found = [
        (
            row.market,
            row.market.native,
            row.market.contract_size,
            row.market.launched_ms,
            row.funding_interval_hours,
        )
        for row in page.rows
    ]
    assert found == expected
    assert page.sent > len(found)


def test_turnovers(exchange: Exchange) -> None:
    body, turnovers = samples_of(exchange).turnovers
    assert {row.native: row.turnover_24h for row in parse_tickers(exchange, body)} == turnovers


def test_schedule(exchange: Exchange, venue: Venue) -> None:
    samples = samples_of(exchange).schedule
    assert samples.keys() == venue.schedule.keys()
    for endpoint, (body, tickers) in samples.items():
        found = [
            row._replace(turnover_24h=None) for row in parse_schedule(exchange, endpoint, body)
        ]
        assert found == tickers


def test_an_answer_about_another_market_is_refused_where_it_says_so(exchange: Exchange) -> None:
    other = Market(exchange, "NOPEUSDT", "NOPE", "USDT")
    with pytest.raises(BadPayload):
        parse_funding(other, samples_of(exchange).funding[0])


def test_no_answer_is_taken_for_a_refusal(exchange: Exchange, venue: Venue) -> None:
    request = listing_request(exchange, Endpoint.TIME)
    for body in samples_of(exchange).answers:
        assert judge(request, 200, CIMultiDict(), body, NOW_MS) is None
        assert venue.read_error(body) is None


def test_refusals(exchange: Exchange, venue: Venue) -> None:
    request = listing_request(exchange, Endpoint.TIME)
    found = []
    for status, body, kind in samples_of(exchange).refusals:
        error = judge(request, status, CIMultiDict(), body, NOW_MS)
        assert isinstance(error, ExchangeError)
        assert type(error) is kind, f"{status} {body!r}"
        found.append(error)
    assert {type(error) for error in found} >= {SourceDown, RateLimited, SymbolGone, BadRequest}
    for status in (500, 502, 503, 504):
        assert type(judge(request, status, CIMultiDict(), b"<html>", NOW_MS)) is SourceDown


# --- general code --------------------------------------------------------------------------------


def _named(tree: ast.Module) -> list[int]:
    """Lines that name an exchange of the enum, or compare with, or look up, a text that does."""
    names, texts = set(Exchange.__members__), {str(exchange) for exchange in Exchange}
    lines = []
    if not any(isinstance(node, ast.ImportFrom) and node.module in KNOW for node in tree.body):
        return []  # it has no exchange in hand; a command may be called like one
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "Exchange"
            and node.attr in names
        ):
            lines.append(node.lineno)
        asked: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            asked = list(node.keys)
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        lines += [
            part.lineno for part in asked if isinstance(part, ast.Constant) and part.value in texts
        ]
    return lines


def test_general_code_names_no_exchange() -> None:
    beside = {"venues", "tests", "simulator", "benchmarks", "chaos", "mutants", "docs"}
    own = {
        ROOT / "market" / "markets.py",
        *(ROOT / "facade" / "exchanges" / f"{each}.py" for each in Exchange),
    }
    named = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in [*ROOT.glob("*.py"), *ROOT.glob("*/**/*.py")]
        if (top := file.relative_to(ROOT).parts[0]) not in beside and not top.startswith(".")
        if file not in own
        for line in _named(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert not named, "what only one exchange does belongs in its file in venues/ or facade/"
