"""Refusals of each provider in its own words, and in words nobody has seen: of what class they are.

Status and body are those that the providers' documents, or clients of theirs, tell of.
"""

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from config import load_settings
from providers import assets
from providers.classify import classify
from providers.errors import ErrorClass as Class
from providers.errors import ProviderError
from providers.questions import Kind, Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.registry import load
from tests.providers.making import NOW_MS

ROWS = load(load_settings())
ASSETS = assets.load()
HTML = "<html><head><title>Attention Required! | Cloudflare</title></head></html>"
ADDRESS = "0x84e8EE8911c147755bD70084b6b4D1a5A8351476"


def of_row(id_: str, status: int, body: Any, headers: dict[str, str] | None = None) -> Any:
    """What the answer is refused for, by its class or its reader; None where it is read."""
    row = ROWS.resource(id_)
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    told = CIMultiDict(headers or {})
    if (error := classify(row, status, told, content, NOW_MS)) is not None:
        return error
    chain = row.chain.partition(".")[2]
    subject = {Kind.PRICE: "btc", Kind.BALANCE: ADDRESS, Kind.SENTIMENT: "MARKET"}.get(
        row.kind, "ethereum" if chain == "evm" else chain or "news"
    )
    subject = "usdc" if row.read.get("id") == "{erc20}" else subject
    subject = "btc" if row.chain == "sentiment.asset" else subject
    quote = str(row.read.get("quotes", ("usd",))[0]).lower()
    options = (("quote", quote),) if row.kind is Kind.PRICE else ()
    asked = Asked(row, Question(row.chain, (subject,), options), (subject,), NOW_MS, ASSETS)
    try:
        READERS[row.reader](content, asked)
    except ProviderError as error:
        return error
    return None


def class_of(id_: str, status: int, body: Any) -> Class | None:
    error = of_row(id_, status, body)
    return None if error is None else error.error_class


def cmc(code: Any) -> Any:
    return {"status": {"error_code": code, "error_message": "no"}, "data": None}


def coingecko(code: int) -> Any:
    return {"status": {"error_code": code, "error_message": "no"}}


def notok(text: str) -> Any:
    return {"status": "0", "message": "NOTOK", "result": text}


def rpc(code: int, message: str) -> Any:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}


def blockchair(code: int, error: str = "no") -> Any:
    return {"data": None, "context": {"code": code, "error": error}}


SPOT_OF_BYBIT = {"list": [{"symbol": "BTCUSDT", "lastPrice": "60000"}]}
SPOT_OF_OKX = [{"instId": "BTC-USDT", "last": "60000"}]
OF_KRAKEN = {"BTC/USD": {"c": ["60000", "1"]}}
OVER = "You are over your rate limit please upgrade your account!"
FREE = "Free API access is "
COINGECKO, DATA, CMC = (f"price.aggregate/{name}" for name in ("coingecko", "coindesk_data", "cmc"))
NODE = "rpc.ethereum/eth.drpc.org"


@pytest.mark.parametrize(
    ("row", "status", "body", "due"),
    [
        ("price.spot/binance_spot", 418, {"code": -1003, "msg": "banned"}, Class.RATE_LIMITED),
        ("price.spot/binance_spot", 400, {"code": -1121, "msg": "Invalid symbol."}, Class.UNKNOWN),
        ("price.spot/binance_spot", 451, {"code": 0, "msg": "restricted"}, Class.GEO_BLOCKED),
        ("price.spot/bybit_spot", 403, "access too frequent", Class.RATE_LIMITED),
        ("price.spot/bybit_spot", 200, {"retCode": "10006", "result": {}}, Class.RATE_LIMITED),
        ("price.spot/bybit_spot", 200, {"retCode": -1, "result": SPOT_OF_BYBIT}, Class.BAD_PAYLOAD),
        ("price.spot/okx_spot", 200, {"code": 50011, "data": []}, Class.RATE_LIMITED),
        ("price.spot/okx_spot", 200, {"code": "-1", "data": SPOT_OF_OKX}, Class.BAD_PAYLOAD),
        ("price.spot/okx_spot", 429, {"code": "1", "data": []}, Class.RATE_LIMITED),
        (
            "price.spot/kraken",
            200,
            {"error": ["WDatabase:slow", "EAPI:Rate limit exceeded"], "result": OF_KRAKEN},
            Class.RATE_LIMITED,
        ),
        ("price.spot/kraken", 200, {"error": "EOther", "result": OF_KRAKEN}, Class.BAD_PAYLOAD),
        ("price.spot/kraken", 200, {"error": ["EService:Unavailable"]}, Class.TRANSIENT),
        (
            "price.spot/coinbase",
            200,
            {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]},
            Class.RATE_LIMITED,
        ),
        (COINGECKO, 401, coingecko(10002), Class.KEY_REJECTED),
        (COINGECKO, 400, {"error_code": 10010}, Class.KEY_REJECTED),
        (COINGECKO, 400, coingecko(10011), Class.KEY_REJECTED),
        (COINGECKO, 401, {"error": coingecko(10005)}, Class.PLAN_FORBIDS),
        (COINGECKO, 403, coingecko(1020), Class.GEO_BLOCKED),
        (COINGECKO, 403, "error code: 1020", Class.GEO_BLOCKED),
        (COINGECKO, 403, HTML, Class.GEO_BLOCKED),
        (COINGECKO, 429, coingecko(429), Class.RATE_LIMITED),
        (
            COINGECKO,
            200,
            {"status": {"error_code": 429, "error_message": "You've exceeded the Rate Limit."}},
            Class.RATE_LIMITED,
        ),
        (COINGECKO, 200, {"error": "Internal Server Error"}, Class.TRANSIENT),
        (COINGECKO, 200, {"error": "coin not found"}, Class.UNKNOWN),
        (COINGECKO, 200, {"bitcoin": {}}, Class.UNKNOWN),
        ("price.aggregate/coinpaprika", 402, {"error": "no"}, Class.QUOTA_SPENT),
        ("price.aggregate/coinpaprika", 404, {"error": "id not found"}, Class.UNKNOWN),
        *((CMC, 200, cmc(code), Class.KEY_REJECTED) for code in (1001, "1001", 1002, "1007")),
        *((CMC, 402, cmc(code), Class.PLAN_FORBIDS) for code in (1003, "1004")),
        (CMC, 403, cmc(1006), Class.PLAN_FORBIDS),
        *((CMC, 429, cmc(code), Class.RATE_LIMITED) for code in (1008, 1011, "1011")),
        *((CMC, 429, cmc(code), Class.QUOTA_SPENT) for code in (1009, 1010)),
        (CMC, 401, cmc(7777), Class.KEY_REJECTED),
        (CMC, 200, cmc("7777"), Class.BAD_PAYLOAD),
        ("price.aggregate/cmc_keyless", 200, cmc("1011"), Class.RATE_LIMITED),
        ("price.aggregate/cmc_keyless", 401, cmc(1002), Class.PLAN_FORBIDS),
        ("price.aggregate/defillama", 502, HTML, Class.TRANSIENT),
        ("price.aggregate/coinlore", 200, "null", Class.UNKNOWN),
        ("price.aggregate/dia", 404, {"errorcode": 404}, Class.UNKNOWN),
        ("price.aggregate/coinstats", 200, "Too many requests", Class.RATE_LIMITED),
        ("price.aggregate/messari", 402, {"accepts": []}, Class.PLAN_FORBIDS),
        (DATA, 200, {"Response": "Error", "Message": OVER, "Type": 99}, Class.RATE_LIMITED),
        (DATA, 200, {"Response": "Error", "Message": "no", "Type": 99}, Class.RATE_LIMITED),
        (
            DATA,
            200,
            {"Response": "Error", "Message": "You need a valid auth key", "Type": 99},
            Class.KEY_REJECTED,
        ),
        (DATA, 200, {"Response": "Error", "Message": "no", "Type": 7}, Class.BAD_PAYLOAD),
        (
            "news/coindesk_data",
            200,
            {"Data": [], "Err": {"type": 1, "message": "The API key is invalid"}},
            Class.KEY_REJECTED,
        ),
        (
            "news/coindesk_data",
            200,
            {"Data": [], "Err": {"type": 99, "message": "no"}},
            Class.RATE_LIMITED,
        ),
        ("news/coindesk_data", 200, {"Data": [], "Err": {"type": 7}}, Class.BAD_PAYLOAD),
        ("news/coindesk_data", 401, {"Data": [], "Err": {"type": 7}}, Class.KEY_REJECTED),
        ("news/coindesk_data", 200, {"Data": [], "Err": {}}, None),
        ("price.aggregate/alchemy", 401, "Must be authenticated!", Class.KEY_REJECTED),
        ("news/cryptopanic", 403, {"error": "not on your plan"}, Class.PLAN_FORBIDS),
        ("news/newsapi", 200, {"status": "error", "code": "apiKeyMissing"}, Class.KEY_REJECTED),
        ("news/newsapi", 200, {"status": "error", "code": "rateLimited"}, Class.RATE_LIMITED),
        ("news/newsapi", 200, {"status": "error", "code": "new"}, Class.BAD_PAYLOAD),
        ("news/newsapi", 426, {"status": "error", "code": "new"}, Class.PLAN_FORBIDS),
        ("sentiment.market/fng", 200, {"metadata": {"error": "no"}}, Class.BAD_PAYLOAD),
        ("sentiment.market/cfgi", 429, {"error": "Max 1 request per second."}, Class.RATE_LIMITED),
        ("sentiment.market/cfgi", 200, "Max 1 request per second.", Class.RATE_LIMITED),
        ("sentiment.market/cfgi", 200, "You have no credits left", Class.QUOTA_SPENT),
        ("sentiment.market/cfgi", 200, {"error": "NOT ENOUGH CREDITS"}, Class.QUOTA_SPENT),
        ("sentiment.asset/lunarcrush", 402, {"error": "no"}, Class.PLAN_FORBIDS),
        ("balance.ethereum/etherscan", 200, notok("Daily limit exceeded"), Class.QUOTA_SPENT),
        ("balance.ethereum/etherscan", 200, notok("MAX CALLS PER SEC"), Class.RATE_LIMITED),
        (
            "balance.ethereum/etherscan",
            200,
            notok(f"{FREE}not supported for this chain."),
            Class.PLAN_FORBIDS,
        ),
        ("stats.evm/etherscan", 200, rpc(-32603, "no"), Class.TRANSIENT),
        ("balance.ethereum/ethplorer", 403, {"error": {"message": "no"}}, Class.PLAN_FORBIDS),
        ("balance.bsc/moralis", 403, {"message": "Invalid key"}, Class.KEY_REJECTED),
        *(
            ("balance.bitcoin/blockchair", status, blockchair(code, text), due)
            for code, due in (
                *((402, Class.QUOTA_SPENT), (429, Class.RATE_LIMITED), (435, Class.RATE_LIMITED)),
                *((436, Class.RATE_LIMITED), (437, Class.RATE_LIMITED), (430, Class.GEO_BLOCKED)),
                *((434, Class.GEO_BLOCKED), (503, Class.GEO_BLOCKED)),
            )
            for status in (200, code)
            for text in ("no", "Limit is reached. Get an API key")
        ),
        ("balance.bitcoin/blockchair", 200, blockchair(500), Class.TRANSIENT),
        ("balance.tron/trongrid", 401, {"error": "ApiKey not exists"}, Class.KEY_REJECTED),
        ("balance.tron/trongrid", 200, {"Error": "class java.x : timeout"}, Class.TRANSIENT),
        ("balance.tron/trongrid", 200, {}, Class.UNKNOWN),
        ("balance.bitcoin/blockcypher", 200, {"error": "Limits reached."}, Class.RATE_LIMITED),
        ("balance.bitcoin/mempool", 429, "You need an API key for more", Class.RATE_LIMITED),
        (NODE, 200, rpc(35, "ranges over 10000 blocks are not supported"), Class.UNKNOWN),
        (NODE, 200, rpc(35, "ranges over 10000 blocks need a paid tier"), Class.UNKNOWN),
        (NODE, 200, rpc(-32614, "eth_getLogs is limited to a 10,000 range"), Class.UNKNOWN),
        (NODE, 200, rpc(-32000, "upstream timed out"), Class.TRANSIENT),
        (NODE, 200, rpc(19, "Temporary internal error. Please retry"), Class.TRANSIENT),
        ("rpc.ethereum/infura", 402, {"error": {"code": 402}}, Class.QUOTA_SPENT),
        ("whales.evm/whale_alert", 403, {"error": "no"}, Class.PLAN_FORBIDS),
    ],
)
def test_refusals(row: str, status: int, body: Any, due: Class | None) -> None:
    assert class_of(row, status, body) is due


def test_a_node_that_calls_its_own_fault_a_revert_has_not_answered() -> None:
    body = rpc(3, "RPC Request failed.")
    body["error"]["data"] = None
    assert class_of(NODE, 200, body) is Class.BAD_PAYLOAD


def test_until_when_quotas_are_spent() -> None:
    """At midnight or the month's end (UTC) by the code, whatever the words say."""
    month, day = of_row(CMC, 429, cmc(1010)), of_row(CMC, 429, cmc(1009))
    assert month.until_ms == 1_790_812_800_000  # 2026-10-01
    assert day.until_ms == 1_790_035_200_000  # 2026-09-22
    assert of_row("price.aggregate/coinpaprika", 402, {}).until_ms == month.until_ms


def test_a_server_that_suspends_says_how_long() -> None:
    said = "The key exceeds the frequency limit(15), and the query server is suspended for 30s"
    error = of_row("balance.tron/trongrid", 403, {"success": False, "error": said})
    assert (error.error_class, error.until_ms) == (Class.RATE_LIMITED, NOW_MS + 30_000)
