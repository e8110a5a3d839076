"""Every row of the registry, asked of the simulator: its answer is read and true, and each class of
error is told apart in its provider's own words."""

import http.client
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest
from multidict import CIMultiDict

from config import load_settings
from providers.assets import MARKET
from providers.assets import load as load_assets
from providers.classify import classify
from providers.errors import ErrorClass, ProviderError
from providers.questions import Kind, Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.records import (
    Balance,
    ChainStats,
    GasPrice,
    NewsItem,
    Price,
    Record,
    SentimentReading,
    WhaleTransfer,
)
from providers.registry import load as load_registry
from providers.requests import PreparedRequest, requests_of
from providers.resources import Resource
from tests.fixtures.simulator import NOW_MS, Simulator

_ADDRESSES: Final = {
    "ethereum": "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045",
    "bsc": "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045",
    "tron": "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
    "bitcoin": "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
}
# What is refused there as it is in the world: plans without a chain, feeds that block servers.
_REFUSED: Final = {
    "balance.bsc/etherscan": ErrorClass.PLAN_FORBIDS,
    "news/rss_theblock": ErrorClass.GEO_BLOCKED,
    "news/rss_blockworks": ErrorClass.GEO_BLOCKED,
}
# Rows that are off, and of whose answers nothing is known.
_UNKNOWN: Final = ("sentiment.asset/reddit", "sentiment.asset/messari")
_REGISTRY: Final = load_registry(load_settings())
_ASSETS: Final = load_assets()
_ROWS: Final = [
    row
    for chain in _REGISTRY.chains()
    for row in _REGISTRY.chain(chain)
    if row.reader != "own" and row.id not in _UNKNOWN
]
_CLASSES: Final = ("rate_limited", "quota_spent", "key_rejected", "plan_forbids", "geo_blocked")
# Where a provider's words, or those of the web, do not tell two classes apart.
_ALIKE: Final = {
    ErrorClass.QUOTA_SPENT: (ErrorClass.PLAN_FORBIDS,),  # 402, where plans are paid
    ErrorClass.PLAN_FORBIDS: (ErrorClass.RATE_LIMITED,),  # 403 of Bybit and TronGrid
    ErrorClass.GEO_BLOCKED: (ErrorClass.RATE_LIMITED, ErrorClass.PLAN_FORBIDS),  # the same
    ErrorClass.RATE_LIMITED: (),
    ErrorClass.KEY_REJECTED: (),
}


class Made(NamedTuple):
    """A row's question, and the first of the requests that it takes."""

    row: Resource
    question: Question
    request: PreparedRequest


@pytest.fixture(scope="module")
def world() -> Iterator[Simulator]:
    """All providers at NOW_MS, without limits."""
    simulator = Simulator(
        {"providers": True, "binance": 8, "bybit": 8, "no_limits": True, "now": NOW_MS,
         "frozen": True}
    )  # fmt: skip
    yield simulator
    simulator.stop()


def _question(row: Resource) -> Question:
    kind, _, rest = row.chain.partition(".")
    match Kind(kind):
        case Kind.PRICE:
            quotes = row.read.get("quotes", ("USD",))
            assets = row.read.get("assets", ("btc", "eth", "usdc"))
            if "{erc20}" in str(row.read.get("id")):
                assets = ("usdc",)
            return Question(row.chain, tuple(assets), (("quote", str(quotes[0]).lower()),))
        case Kind.NEWS:
            return Question(row.chain, (MARKET,))
        case Kind.SENTIMENT:
            return Question(row.chain, (MARKET,) if rest == "market" else ("btc", "eth"))
        case Kind.BALANCE:
            return Question(row.chain, (_ADDRESSES[rest],))
        case Kind.RPC:
            method = "getSlot" if rest == "solana" else "eth_blockNumber"
            return Question(row.chain, (rest,), (("method", method), ("params", "[]")))
        case _:
            chains = row.read.get("chains", ("ethereum",))
            return Question(row.chain, (chains[0] if rest == "evm" else rest,))


def _made(row: Resource, base_url: str) -> Made:
    question = _question(row)
    node = None
    if row.via is not None:
        node = _REGISTRY.chain(row.via.replace("{chain}", question.subjects[0]))[0]
    key = f"placeholder-{question.subjects[0]}"  # a token of GetBlock is of one chain
    made = requests_of(row, question, _ASSETS, key, base_url, node)
    assert made, f"{row.id} asks nothing of {question}"
    return Made(row, question, made[0])


def _ask(request: PreparedRequest) -> tuple[int, CIMultiDict[str], bytes]:
    split = urlsplit(request.url)
    connection = http.client.HTTPConnection(split.netloc, timeout=60)
    try:
        path = f"{split.path}?{split.query}" if split.query else split.path
        connection.request(request.method, path, request.body, dict(request.headers))
        response = connection.getresponse()
        return response.status, CIMultiDict(response.getheaders()), response.read()
    finally:
        connection.close()


def _read(made: Made) -> list[Record]:
    """The records of an answer. Raises ProviderError."""
    status, headers, body = _ask(made.request)
    error = classify(made.row, status, headers, body, NOW_MS)
    if error is not None:
        raise error
    subjects = made.request.subjects
    asked = Asked(made.row, made.question, subjects, NOW_MS, _ASSETS, headers, made.request.part)
    return READERS[made.row.reader](body, asked)


def _is_true(world: Simulator, record: Record) -> bool:
    """Whether a record tells what is true there."""
    match record:
        case Price():
            told = world.get("/sim/providers/truth", assets=record.asset)["prices"]
            # Exchanges' own trades, and whole dollars, are a little apart.
            return bool(abs(record.value / Decimal(str(told[record.asset])) - 1) < 0.01)
        case Balance():
            true = _chain(world, record.chain, record.address)["balance"]
            return bool(str(record.raw) == true)
        case GasPrice(chain="bitcoin"):
            true = Decimal(str(_chain(world, "bitcoin")["fee_sat_per_vb"])) * 1000
            fast = record.fee_fast_sat_per_kvb
            return fast is not None and abs(fast - true) <= 1000
        case GasPrice():
            base = int(_chain(world, record.chain)["base_fee_wei"])
            fast = record.max_fee_fast_wei or record.priority_fast_wei
            return fast is not None and base / 3 < fast < 5 * base + 10**9
        case ChainStats():
            height = _chain(world, record.chain)["height"]
            return (record.height is None or abs(record.height - height) <= 3) and (
                record.height is not None or bool(record.metrics)
            )
        case SentimentReading():
            least, most = record.scale
            return least <= record.value <= most
        case NewsItem():
            return bool(record.title) and record.url.startswith("https://")
        case WhaleTransfer():
            return record.amount_raw > 0
        case _:
            return True


def _chain(world: Simulator, chain: str, address: str = "") -> dict[str, Any]:
    told: dict[str, Any] = world.get("/sim/providers/truth/chain", chain=chain, address=address)
    return told


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.id)
def test_its_answer_is_read_and_true(world: Simulator, row: Resource) -> None:
    made = _made(row, world.base_url)
    refused = _REFUSED.get(row.id)
    if refused is not None:
        with pytest.raises(ProviderError) as raised:
            _read(made)
        assert raised.value.error_class is refused
        return
    records = _read(made)
    assert records
    wrong = [record for record in records if not _is_true(world, record)]
    assert wrong == []


@pytest.mark.parametrize("error_class", _CLASSES)
def test_its_errors_are_told_apart(world: Simulator, error_class: str) -> None:
    """All rows: one rule of faults for all hosts."""
    expected = ErrorClass(error_class)
    world.post("/sim/providers/faults", {"class": error_class})
    try:
        found = {row.id: _error(_made(row, world.base_url)) for row in _ROWS}
    finally:
        world.delete("/sim/providers/faults")
    allowed = (expected, *_ALIKE[expected])
    assert {id_: each for id_, each in found.items() if each not in allowed} == {}
    apart = sum(each is expected for each in found.values())
    assert apart > len(found) * 0.9


@pytest.mark.parametrize("damage", ["html", "challenge", "truncated", "empty"])
def test_what_is_no_answer_is_transient(world: Simulator, damage: str) -> None:
    world.post("/sim/providers/faults", {"class": damage})
    try:
        found = {row.id: _error(_made(row, world.base_url)) for row in _ROWS}
    finally:
        world.delete("/sim/providers/faults")
    fine = (ErrorClass.TRANSIENT, *_REFUSED.values())
    assert {id_: each for id_, each in found.items() if each not in fine} == {}


@pytest.mark.parametrize("variant", ["nan", "zero", "negative", "bool", "types"])
def test_no_price_that_cannot_be_is_read(world: Simulator, variant: str) -> None:
    rows = [row for row in _ROWS if row.chain.startswith("price.")]
    world.post("/sim/providers/faults", {"class": "bad_payload", "variant": variant})
    try:
        found = {row.id: _error(_made(row, world.base_url)) for row in rows}
    finally:
        world.delete("/sim/providers/faults")
    assert {id_: each for id_, each in found.items() if each is None} == {}


def _error(made: Made) -> ErrorClass | None:
    """The class of the error that an answer is, None where it is read."""
    try:
        _read(made)
    except ProviderError as error:
        return error.error_class
    return None
