"""Prices of all simulated sources: near one latent price, each in its own words."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.providers.asking import answer, fine

_CMC = "/pro-api.coinmarketcap.com"
_QUOTES = "/v3/cryptocurrency/quotes/latest?id=1027"
_PAIRS = quote('["BTCUSDT","ETHUSDT"]')
_USDT = "0xdac17f958d2ee523a2206206994597c13d831ec7"
# What each source says that one ETH costs, in dollars or what is meant to be one.
_SOURCES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "binance spot": (
        f"/data-api.binance.vision/api/v3/ticker/price?symbols={_PAIRS}",
        lambda a: a[1]["price"],
    ),
    "binance 24h": (
        "/data-api.binance.vision/api/v3/ticker/24hr?symbol=ETHUSDT",
        lambda a: a["lastPrice"],
    ),
    "bybit spot": (
        "/api.bybit.com/v5/market/tickers?category=spot&symbol=ETHUSDT",
        lambda a: a["result"]["list"][0]["lastPrice"],
    ),
    "bybit linear": (
        "/api.bybit.com/v5/market/tickers?category=linear&symbol=ETHUSDT",
        lambda a: a["result"]["list"][0]["markPrice"],
    ),
    "binance usdm": (
        "/fapi.binance.com/fapi/v1/premiumIndex?symbol=ETHUSDT",
        lambda a: a["markPrice"],
    ),
    "okx spot": (
        "/www.okx.com/api/v5/market/tickers?instType=SPOT",
        lambda a: next(r["last"] for r in a["data"] if r["instId"] == "ETH-USDT"),
    ),
    "okx swap": (
        "/www.okx.com/api/v5/market/ticker?instId=ETH-USDT-SWAP",
        lambda a: a["data"][0]["last"],
    ),
    "kraken": (
        "/api.kraken.com/0/public/Ticker?assetVersion=1",
        lambda a: a["result"]["ETH/USD"]["c"][0],
    ),
    "kraken of old": (
        "/api.kraken.com/0/public/Ticker",
        lambda a: a["result"]["XETHZUSD"]["c"][0],
    ),
    "coinbase": (
        "/api.coinbase.com/v2/exchange-rates?currency=ETH",
        lambda a: a["data"]["rates"]["USD"],
    ),
    "coingecko": (
        "/api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd",
        lambda a: a["ethereum"]["usd"],
    ),
    "coingecko markets": (
        "/api.coingecko.com/api/v3/coins/markets?vs_currency=usd&ids=ethereum",
        lambda a: a[0]["current_price"],
    ),
    "coinpaprika": (
        "/api.coinpaprika.com/v1/tickers/eth-ethereum",
        lambda a: a["quotes"]["USD"]["price"],
    ),
    "cmc keyless": (f"{_CMC}/public-api{_QUOTES}", lambda a: a["data"][0]["quote"][0]["price"]),
    "defillama": (
        "/coins.llama.fi/prices/current/coingecko:ethereum",
        lambda a: a["coins"]["coingecko:ethereum"]["price"],
    ),
    "coinlore": ("/api.coinlore.net/api/ticker/?id=80", lambda a: a[0]["price_usd"]),
    "dia": (
        "/api.diadata.org/v1/assetQuotation/Ethereum/0x0000000000000000000000000000000000000000",
        lambda a: a["Price"],
    ),
}


@pytest.mark.parametrize("source", _SOURCES)
def test_all_sources_are_near_one_price(world: Simulator, source: str) -> None:
    path, price_in = _SOURCES[source]
    true = world.get("/sim/providers/truth", assets="eth")["prices"]["eth"]
    # The truth is Binance's last trade; Bybit's trades go their own way for minutes.
    near = 0.01 if source == "bybit linear" else 0.0006
    assert float(price_in(fine(world, path))) == pytest.approx(true, rel=near)


def test_the_price_is_that_of_the_exchange(world: Simulator) -> None:
    traded = float(world.get("/fapi/v1/ticker/price", symbol="ETHUSDT")["price"])
    assert world.get("/sim/providers/truth", assets="eth")["prices"]["eth"] == traded


def test_sources_with_keys(world: Simulator) -> None:
    true = world.get("/sim/providers/truth", assets="eth")["prices"]["eth"]
    cases: list[tuple[str, dict[str, str], Callable[[Any], Any]]] = [
        (f"{_CMC}{_QUOTES}", {"X-CMC_PRO_API_KEY": "k"},
         lambda a: a["data"][0]["quote"][0]["price"]),
        ("/rest.coincap.io/v3/assets/ethereum", {"Authorization": "Bearer k"},
         lambda a: a["data"]["priceUsd"]),
        ("/openapiv1.coinstats.app/coins?limit=2", {"X-API-KEY": "k"},
         lambda a: a["result"][1]["price"]),
        ("/min-api.cryptocompare.com/data/pricemulti?fsyms=ETH&tsyms=USD&api_key=k", {},
         lambda a: a["ETH"]["USD"]),
    ]  # fmt: skip
    for path, headers, price_in in cases:
        assert float(price_in(fine(world, path, **headers))) == pytest.approx(true, rel=0.0006)
        refused_path = path.replace("&api_key=k", "")
        status, refused = answer(world, refused_path)
        assert status == 401 or refused["Response"] == "Error", (path, status, refused)


def test_tokens_by_contract(world: Simulator) -> None:
    llama = fine(world, f"/coins.llama.fi/prices/current/ethereum:{_USDT},ethereum:0xdead")
    assert list(llama["coins"]) == [f"ethereum:{_USDT}"]
    assert llama["coins"][f"ethereum:{_USDT}"]["decimals"] == 6
    moralis = f"/deep-index.moralis.io/api/v2.2/erc20/{_USDT}/price?chain=eth"
    assert fine(world, moralis, **{"X-API-Key": "k"})["usdPrice"] == pytest.approx(1, rel=0.002)
    body = {"addresses": [{"network": "eth-mainnet", "address": a} for a in (_USDT, "0x1")]}
    found, unknown = fine(world, "/api.g.alchemy.com/prices/v1/k/tokens/by-address", body)["data"]
    assert float(found["prices"][0]["value"]) == pytest.approx(1, rel=0.002)
    assert unknown["error"] == {"message": "Token not found"}


def test_what_nobody_knows_is_told_in_each_ones_way(world: Simulator) -> None:
    gecko = "/api.coingecko.com/api/v3/simple/price?ids=nothing&vs_currencies=usd"
    assert fine(world, gecko) == {}
    assert fine(world, "/coins.llama.fi/prices/current/coingecko:nothing") == {"coins": {}}
    assert fine(world, "/api.coinlore.net/api/ticker/?id=999999") == []
    assert answer(world, "/api.coinpaprika.com/v1/tickers/x-nothing")[0] == 404
    assert fine(world, "/api.kraken.com/0/public/Ticker?assetVersion=1&pair=NO/USD") == {
        "error": ["EQuery:Unknown asset pair"]
    }
    pairs = quote('["BTCUSDT","NOUSDT"]')  # one that is unknown fails the whole list
    path = f"/data-api.binance.vision/api/v3/ticker/price?symbols={pairs}"
    assert answer(world, path) == (400, {"code": -1121, "msg": "Invalid symbol."})


def test_codes_of_coinmarketcap_are_texts_without_a_key(world: Simulator) -> None:
    keyless = fine(world, f"{_CMC}/public-api{_QUOTES}")["status"]["error_code"]
    keyed = fine(world, f"{_CMC}{_QUOTES}", **{"X-CMC_PRO_API_KEY": "k"})["status"]["error_code"]
    assert (keyless, keyed) == ("0", 0)


def test_prices_depend_on_the_seed_and_the_time_alone(start_simulator: StartSimulator) -> None:
    options = {"providers": True, "binance": 0, "bybit": 0, "now": NOW_MS, "frozen": True}
    path = _SOURCES["kraken"][0]
    first, second = (fine(start_simulator(**options), path) for _ in range(2))
    other = fine(start_simulator(**options, seed=2), path)
    assert first == second != other


def test_without_the_option_there_are_no_providers(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(binance=1, bybit=1)
    assert answer(simulator, _SOURCES["coinlore"][0])[0] == 404
    assert answer(simulator, "/sim/providers/requests")[0] == 404
