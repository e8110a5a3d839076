"""What the tools answer of a running service over the simulator, over stdio and HTTP."""

import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from mcp.client.client import Client

from mcp_tools.answers import utc_text
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator
from tests.mcp_tools.clients import call, error_of, http_server, on_http, on_stdio

SCHEMAS: Final = Path(__file__).parent / "schemas.json"
HOUR_MS: Final = 3_600_000


def asked(**changes: Any) -> dict[str, Any]:
    usual = {"exchange": "binance", "symbol": "BTCUSDT", "timeframe": "1h", "start": "2026-01-01"}
    return usual | changes


BTC: Final = {"symbols": ["BTCUSDT"], "timeframe": "1h"}
# Tool, arguments, and a part of what is said of them.
WRONG: Final[tuple[tuple[str, dict[str, Any], str], ...]] = (
    ("candles", BTC | {"symbols": ["../../jobs"]}, "pattern"),
    ("candles", BTC | {"symbols": ["BTC&limit=9"]}, "pattern"),
    ("candles", BTC | {"timeframe": "7m"}, "5m"),
    ("candles", BTC | {"symbols": []}, "at least 1"),
    ("candles", BTC | {"symbols": ["BTCUSDT"] * 11}, "at most 10"),
    ("candles", BTC | {"limit": 10**9}, "500"),
    ("candles", BTC | {"limit": "many"}, "integer"),
    ("candles", BTC | {"symbols": ["XYZUSDT"]}, "no listed market"),
    ("candles", BTC | {"timeframe": "12h"}, "nothing collected yet"),
    ("compare", {"symbol": "a/b"}, "pattern"),
    ("asset", {"asset": "../status"}, "pattern"),
    ("asset", {"asset": "BTTC"}, "did you mean BTC"),
    ("asset", {"asset": "BTC", "as_of": "2020-01-01"}, "recorded"),
    ("asset", {"asset": "BTC", "as_of": "now"}, "pattern"),
    ("assets", {"limit": 101}, "100"),
    ("assets", {"as_of": "2026-99-99"}, "as_of: must be UTC milliseconds or ISO 8601"),
    ("open_interest_changes", {"period": "2h"}, "24h"),
    ("open_interest_changes", {"exchange": "mtgox"}, "binance"),
    ("prices", {"assets": ["../status"]}, "pattern"),
    ("news", {"limit": 0}, "greater than or equal to 1"),
    ("history", asked(symbol="x" * 80), "pattern"),
    ("history", asked(start="now"), "pattern"),
    ("history", asked(start="2026-99-99"), "start: must be UTC milliseconds or ISO 8601"),
    ("history", asked(end="2020-01-01"), "end: must not be before `start`"),
    ("history", asked(as_of="2900-01-01"), "as_of: 2900-01-01T00:00Z is to come"),
    ("history", asked(start="2900-01-01"), "start: 2900-01-01T00:00Z is to come"),
    (
        "candles",
        BTC | {"rows": 5},
        'no argument "rows": it has symbols, timeframe, exchange, limit',
    ),
    ("freshness", {"of": "1h"}, 'no argument "of": it has none'),
    (
        "markets",
        {"limit": True},
        "limit: must not be true (limit: So many markets at most. 1 to 100",
    ),
    ("candles", {"timeframe": "1h"}, "symbols: is required"),
)
GOOD: Final[dict[str, dict[str, Any]]] = {
    "markets": {"limit": 1, "timeframe": "1h"},
    "candles": BTC | {"limit": 1},
    "funding": {"symbols": ["BTCUSDT"], "limit": 1},
    "open_interest_changes": {"limit": 1},
    "compare": {"symbol": "BTCUSDT", "limit": 1},
    "assets": {"limit": 1},
    "asset": {"asset": "BTC"},
    "prices": {},
    "news": {"limit": 1},
    "freshness": {},
    "history": asked(limit=1),
}
LONG: Final = "x" * 1_000_000
HOSTILE: Final[tuple[Any, ...]] = (
    *(10**400, -(10**30), float("nan"), -1, 0, 1.5, True, None),
    *("", " ", LONG, "\U0001d54f" * 50, "\u202eevil", "a\0b", "a\nb", "'; DROP TABLE candles;--"),
    *([], {}, [[[]]], {"a": 1}, [LONG], ["x"] * 100_000),
    *("9999-12-31T23:59:59Z", "0001-01-01", "99999999999999", "2026-12-01T00:00+99:00"),
)


async def test_every_tool_tells_what_the_service_knows(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    tmp_path: Path,
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, providers=True)
    settings = service_settings(exchanges, PROVIDERS="on", PROVIDERS_BASE_URL=exchanges.base_url)
    service = await start_service(**settings)
    await service.funding_ready()
    async with on_stdio(tmp_path, "--url", service.address) as client:
        assert "nothing collected yet" in await error_of(client, "asset", asset="BTC")
    await service.collect("5m")
    await service.collect("1h")
    url = ("--url", service.address)
    async with http_server(tmp_path, *url) as address, on_http(address) as client:
        await _markets_and_candles(client, exchanges, service)
        await _hostile_arguments(client)
    async with on_stdio(tmp_path, *url) as client:
        await _markets_and_candles(client, exchanges, service)
        await _interest(client, service)
        await _assets(client, service)
        await _service(client)
        await _record(client, service)
        await _wrong_arguments(client, str(tmp_path))
        await _hostile_arguments(client)


async def _markets_and_candles(client: Client, exchanges: Simulator, service: Service) -> None:
    listed = await call(client, "markets", timeframe="1h", limit=2)
    assert listed["count"] == 6
    assert len(listed["markets"]) == 2
    assert listed["left_out"] == "4 more markets: search for a part of a name"
    of_document = await service.get("/cache/1h?symbol=BTCUSDT&limit=1")
    assert listed["as_of"] == of_document["as_of"]
    assert listed["age_s"] >= 0
    found = await call(client, "markets", search="btc")
    assert found["as_of"] is None  # of the 4h candles, which nobody has collected
    [lacks] = found["missing"]
    assert "nothing collected yet" in lacks["reason"]
    assert {each["symbol"] for each in found["markets"]} == {"BTCUSDT"}

    candles = await call(client, "candles", symbols=["BTCUSDT"], timeframe="1h", limit=5)
    truth = exchanges.truth("1h")
    last_closed = candles["last_closed_open_time"]
    assert [len(market["rows"]) for market in candles["markets"]] == [5, 5]
    for market in candles["markets"]:
        true = {row[0]: row[:9] for row in truth[f"{market['exchange']}:BTCUSDT"]}
        closed = [row for row in market["rows"] if row[0] <= last_closed]
        assert closed == [true[row[0]] for row in closed]
        assert closed
    assert candles["age_s"] >= 0
    document = await service.get("/cache/1h?symbol=BTCUSDT&limit=5")
    assert candles["as_of"] == document["as_of"]

    one = await call(
        client, "candles", symbols=["BTCUSDT"], timeframe="1h", exchange="bybit", limit=500
    )
    document = await service.get("/cache/1h?symbol=BTCUSDT&exchange=bybit&limit=500")
    assert one["markets"][0]["rows"] == document["markets"][0]["rows"]
    assert one["left_out"] is None

    compared = await call(client, "compare", symbol="btcusdt", timeframe="1h", limit=500)
    assert "250 of 500 rows" in compared["left_out"]  # each with a side of two exchanges
    compared = await call(client, "compare", symbol="btcusdt", timeframe="1h", limit=3)
    assert len(compared["candles"]) == 3
    for candle in compared["candles"]:
        closes = {side["exchange"]: side["close"] for side in candle["sides"]}
        least, most = sorted(closes.values())
        assert candle["close_spread"] == pytest.approx(most / least - 1)
        assert candle["closed"] == (candle["open_time"] <= last_closed)
    funding = await call(client, "funding", symbols=["BTCUSDT"], exchange="bybit", limit=2)
    [market] = funding["markets"]
    assert funding["columns"] == ["funding_time", "funding_rate"]
    document = await service.get("/cache/global_fr?symbol=BTCUSDT&exchange=bybit&limit=2")
    assert market["rows"] == document["markets"][0]["rows"]
    assert market["interval_hours"] == document["markets"][0]["interval_hours"]


async def _interest(client: Client, service: Service) -> None:
    told = await call(client, "open_interest_changes", period="4h")
    assert told["without"] + len(told["changes"]) == 6
    assert told["changes"]
    document = await service.get("/cache/1h")
    known = {
        (market["exchange"], market["symbol"]): {row[0]: row[7] for row in market["rows"]}
        for market in document["markets"]
    }
    for each in told["changes"]:
        interest = known[each["exchange"], each["symbol"]]
        assert each["open_interest"] == interest[each["time"]]
        assert each["before"] == interest[each["time"] - 4 * HOUR_MS]
    sizes = [abs(each["change"]) for each in told["changes"]]
    assert sizes == sorted(sizes, reverse=True)


async def _assets(client: Client, service: Service) -> None:
    served = await service.get("/market")
    told = await call(client, "assets", limit=2)
    assert (told["count"], len(told["assets"])) == (served["count"], 2)
    assert told["left_out"] == f"{served['count'] - 2} more assets: search for a part of a name"
    assert [each["asset"] for each in told["assets"]] == [
        each["asset"] for each in served["assets"][:2]
    ]
    for ours, theirs in zip(told["assets"], served["assets"], strict=False):
        assert ours["open_interest_quote"] == theirs["open_interest"]["quote"]
        assert (ours["price"], ours["change"]) == (theirs["price"], theirs["change"])
    assert (told["as_of"], told["at"]) == (served["as_of"], served["at"])
    assert told["age_s"] == pytest.approx(time.time() - served["updated_at"] / 1000, abs=10)
    found = await call(client, "assets", search="bt")
    assert [each["asset"] for each in found["assets"]] == ["BTC"]

    whole = await service.get("/market/BTC")
    one = await call(client, "asset", asset="btcusdt")
    assert (one["asset"], one["at_utc"]) == ("BTC", utc_text(whole["at"]))
    assert one["open_interest_coins"] == whole["open_interest"]["coins"]
    assert one["price"]["spread_bps"] == whole["price"]["spread_bps"]
    assert one["rate_year"] == whole["funding"]["rate_year"]
    assert one["turnover_24h"] == whole["turnover_24h"]["quote"]
    for ours, theirs in zip(one["markets"], whole["markets"], strict=True):
        funding, change = theirs["funding"], theirs["change"]
        assert ours["open_interest_quote"] == theirs["open_interest"]["quote"]
        assert (ours["rate"], ours["interval_hours"]) == (
            *(funding["rate"], funding["interval_hours"]),
        )
        assert ours["change"] == {
            span: each and each["coins_fraction"] for span, each in change.items()
        }
    assert one["missing"] == [] and one["left_out"] is None

    await until(partial(_is_told_of_record, service), details=lambda: "\n".join(service.lines))
    moment = str(whole["updated_at"])
    past = await call(client, "asset", asset="BTC", as_of=moment)
    assert past["funding_intervals"] == "kept" and one["funding_intervals"] is None
    assert (past["at"], past["open_interest_coins"]) == (one["at"], one["open_interest_coins"])
    assert (await call(client, "assets", as_of=moment))["count"] == served["count"]


async def _is_told_of_record(service: Service) -> bool:
    status, _ = await service.answer("/market/BTC?as_of=2100-01-01")
    return status == 200


async def _service(client: Client) -> None:
    prices = await call(client, "prices", assets=["btc", "eth"])
    assert {each["asset"] for each in prices["prices"]} == {"btc", "eth"}
    assert all(each["provider"] and each["age_s"] >= 0 for each in prices["prices"])
    news = await call(client, "news", limit=3)
    assert len(news["news"]) == 3
    assert news["age_s"] == pytest.approx(time.time() - news["as_of"] / 1000, abs=10)
    assert news["as_of"] is not None
    fresh = await call(client, "freshness")
    assert fresh["status"] in ("ready", "degraded")
    [document] = [each for each in fresh["documents"] if each["name"] == "1h"]
    assert document["markets"] == 6
    assert document["age_s"] >= 0
    assert fresh["documents"][-1]["name"] == "overview"


async def _record(client: Client, service: Service) -> None:
    document = await service.get("/cache/1h?symbol=BTCUSDT&exchange=binance&closed=true")
    rows = document["markets"][0]["rows"]
    await until(partial(_is_recorded, service), details=lambda: "\n".join(service.lines))
    start = str(rows[-8][0])
    page = await call(client, "history", **asked(start=start, limit=3))
    places = [page["columns"].index(name) for name in document["columns"]]
    assert [[row[place] for place in places] for row in page["markets"][0]["rows"]] == rows[-8:-5]
    assert page["left_out"] == f"later rows: ask again with start={rows[-5][0]}"
    assert page["age_s"] == pytest.approx(time.time() - page["as_of"] / 1000, abs=10)
    assert page["missing"] == []
    assert page["markets"][0]["first_utc"] == utc_text(rows[-8][0])
    before = await call(client, "history", **asked(start=start, as_of="2020-01-01T00:00Z"))
    assert [each["rows"] for each in before["markets"]] in ([], [[]])
    [lacks] = before["missing"]
    assert "nothing was known of it at that time" in lacks["reason"]
    assert before["age_s"] > 0
    earlier = await call(client, "history", **asked(start=str(rows[0][0] - 72 * HOUR_MS), limit=1))
    [lacks] = earlier["missing"]
    first = earlier["markets"][0]["rows"][0][0]
    assert lacks["reason"].startswith(
        f"from {utc_text(rows[0][0] - 72 * HOUR_MS)} to {utc_text(first - HOUR_MS)}: "
    )


async def _is_recorded(service: Service) -> bool:
    path = "/api/historical/candles/binance/BTCUSDT?timeframe=1h&limit=1"
    status, page = await service.answer(path)
    return status == 200 and any(market["rows"] for market in page["markets"])


async def _wrong_arguments(client: Client, folder: str) -> None:
    symbols = [f"ABC{number}USDT" for number in range(9)] + ["BTCUSDT"]
    many = await call(client, "candles", symbols=symbols, timeframe="1h", limit=500)
    assert [len(market["rows"]) for market in many["markets"]] == [50, 50]
    assert "50 of 500 rows" in many["left_out"]
    for tool, arguments, says in WRONG:
        text = await error_of(client, tool, **arguments)
        assert says in text, (tool, arguments, text)
        assert "Traceback" not in text
        assert folder not in text
        assert len(text) < 500


async def _hostile_arguments(client: Client) -> None:
    """Every argument of every tool: an answer, or an error in a few words."""
    for tool in (await client.list_tools()).tools:
        named = tool.input_schema["properties"]
        for name, given in product([*named, "x\n\u202e"], HOSTILE):
            result = await client.call_tool(tool.name, GOOD[tool.name] | {name: given})
            [content] = result.content
            text = getattr(content, "text", "")
            if result.is_error:
                assert text.isascii() or given == "\u0130", (tool.name, name, text)
                assert len(text) < 500, (tool.name, name, text)
                assert "Error executing" not in text and "another form" not in text
                assert name in named or f"it has {', '.join(named)}" in text or not named
            else:
                assert name in named
                assert orjson.loads(text) == result.structured_content
                assert result.structured_content["age_s"] is not None, (tool.name, name, given)


async def test_what_is_missing_is_told_and_counted(
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    tmp_path: Path,
) -> None:
    exchanges = start_simulator(binance=25, bybit=2)
    exchanges.post("/sim/faults", {"kind": "geo", "exchange": "bybit"})
    open_interest = {"exchange": "binance", "endpoint": "open_interest"}
    exchanges.post("/sim/faults", {"kind": "status", "status": 404, **open_interest})
    service = await start_service(**service_settings(exchanges))
    await service.funding_ready()
    await service.collect("1h")
    async with on_stdio(tmp_path, "--url", service.address) as client:
        told = await call(client, "open_interest_changes")
        document = await service.get("/cache/1h")
        more = len(document["missing"]) - 20
        assert more > 0
        assert ("bybit", None, "listing") in map(_place, document["missing"])
        assert [_place(each) for each in told["missing"]] == [
            _place(each) for each in document["missing"][:20]
        ]
        assert told["left_out"] == f"{more} are missing, too: ask for one exchange or fewer markets"
        of_bybit = await call(client, "open_interest_changes", exchange="bybit")
        assert ("bybit", None, "listing") in map(_place, of_bybit["missing"])

        markets = await call(client, "markets", timeframe="1h", search="btc")
        assert {each["symbol"] for each in markets["missing"]} == {"BTCUSDT", None}

        candles = await call(
            client, "candles", symbols=["BTCUSDT", "nosuchusdt"], timeframe="1h", limit=2
        )
        lacks = {(each["symbol"], each["part"]) for each in candles["missing"]}
        assert lacks >= {("BTCUSDT", "open_interest"), ("NOSUCHUSDT", "market")}
        assert [market["symbol"] for market in candles["markets"]] == ["BTCUSDT"]


def _place(missing: dict[str, Any]) -> tuple[Any, ...]:
    return missing["exchange"], missing["symbol"], missing["part"]


async def test_tools_have_the_schemas_that_were_published(tmp_path: Path) -> None:
    """`schemas.json` is what clients have been told: a change of it is a change for them."""
    async with on_stdio(tmp_path, "--url", "http://127.0.0.1:1") as client:
        tools = (await client.list_tools()).tools
    told = [
        tool.model_dump(mode="json", by_alias=True, exclude_none=True)
        for tool in sorted(tools, key=lambda tool: tool.name)
    ]
    assert told == orjson.loads(SCHEMAS.read_bytes())
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
