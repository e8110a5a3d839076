"""Faults of simulated providers: each class in the provider's words, lies, shares, durations."""

import http.client
from typing import Any
from urllib.parse import quote

import pytest

from tests.fixtures.simulator import Simulator
from tests.simulator.providers.asking import add_fault, answer, call, fine, result

_GECKO = "/api.coingecko.com/api/v3/simple/price?ids=bitcoin&vs_currencies=usd"
_PAPRIKA = "/api.coinpaprika.com/v1/tickers/btc-bitcoin"
_KRAKEN = "/api.kraken.com/0/public/Ticker?assetVersion=1"
_ETHERSCAN = (
    "/api.etherscan.io/v2/api?chainid=1&module=account&action=balance&apikey=k"
    "&address=0x00000000219ab540356cbb839cbe05303d7705fa"
)
_NODE = "/eth.drpc.org"


@pytest.mark.parametrize(
    ("path", "kind", "status", "words"),
    [
        (_GECKO, "rate_limited", 429, "exceeded the Rate Limit"),
        (_GECKO, "key_rejected", 401, "10002"),
        (_GECKO, "plan_forbids", 401, "10005"),
        (_GECKO, "geo_blocked", 403, "1020"),
        (_PAPRIKA, "quota_spent", 402, "quota"),
        (_KRAKEN, "rate_limited", 200, "EAPI:Rate limit exceeded"),
        (_ETHERSCAN, "rate_limited", 200, "Max calls per sec rate limit reached"),
        (_ETHERSCAN, "quota_spent", 200, "Max daily"),
        (_ETHERSCAN, "plan_forbids", 200, "not supported for this chain"),
        (_ETHERSCAN, "key_rejected", 200, "Invalid API Key"),
        ("/api.trongrid.io/v1/accounts/x", "rate_limited", 403, "suspended for 30s"),
        ("/api.bybit.com/v5/market/tickers?category=spot", "rate_limited", 200, "10006"),
        ("/www.okx.com/api/v5/market/tickers?instType=SPOT", "rate_limited", 429, "50011"),
        ("/mempool.space/api/v1/prices", "rate_limited", 429, "Too Many"),
        ("/api.alternative.me/fng/", "caller_fault", 200, "invalid limit"),
    ],
)
def test_each_provider_has_its_own_words(
    sim: Simulator, path: str, kind: str, status: int, words: str
) -> None:
    add_fault(sim, kind=kind, host=path[1:].partition("/")[0])
    found_status, _, body = sim.full("GET", path)
    assert (found_status, words in body.decode()) == (status, True), body


def test_the_words_of_coinmarketcap_depend_on_the_key(sim: Simulator) -> None:
    path = "/v3/cryptocurrency/quotes/latest?id=1"
    add_fault(sim, kind="rate_limited", host="pro-api.coinmarketcap.com")
    keyless = answer(sim, f"/pro-api.coinmarketcap.com/public-api{path}")
    keyed = answer(sim, f"/pro-api.coinmarketcap.com{path}", **{"X-CMC_PRO_API_KEY": "k"})
    assert (keyless[0], keyless[1]["status"]["error_code"]) == (200, "1011")
    assert (keyed[0], keyed[1]["status"]["error_code"]) == (429, 1008)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("html", b"<html>"), ("challenge", b"Just a moment..."), ("empty", b"")],
)
def test_answers_that_are_none_with_200(sim: Simulator, kind: str, body: bytes) -> None:
    add_fault(sim, kind=kind, host="api.coingecko.com")
    status, _, content = sim.full("GET", _GECKO)
    assert status == 200
    assert body in content
    assert (content == b"") == (kind == "empty")


def test_broken_answers(sim: Simulator) -> None:
    whole = sim.full("GET", _PAPRIKA)[2]
    add_fault(sim, kind="truncated", host="api.coinpaprika.com")
    assert whole.startswith(sim.full("GET", _PAPRIKA)[2][: len(whole) // 3])
    assert len(sim.full("GET", _PAPRIKA)[2]) < len(whole) * 0.6
    sim.delete("/sim/providers/faults")
    add_fault(sim, kind="status", status=502, host="api.coinpaprika.com")
    assert answer(sim, _PAPRIKA)[0] == 502
    sim.delete("/sim/providers/faults")
    for kind in ("reset", "hang"):
        add_fault(sim, kind=kind, host="api.coinpaprika.com", seconds_each=0.01, count=1)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            sim.full("GET", _PAPRIKA)
    assert answer(sim, _PAPRIKA)[0] == 200


@pytest.mark.parametrize(
    ("variant", "price"), [("zero", 0), ("negative", -1), ("bool", True), ("types", {})]
)
def test_values_that_cannot_be(sim: Simulator, variant: str, price: object) -> None:
    add_fault(sim, kind="bad_payload", variant=variant, host="api.coingecko.com")
    told: Any = fine(sim, _GECKO)
    while isinstance(told, dict | list) and told:
        told = next(iter(told.values())) if isinstance(told, dict) else told[0]
    assert told == price
    assert type(told) is type(price)


def test_numbers_that_are_none(sim: Simulator) -> None:
    add_fault(sim, kind="bad_payload", variant="nan")
    assert b'{"bitcoin":{"usd":NaN}}' in sim.full("GET", _GECKO)[2]


def test_a_feed_with_entities(sim: Simulator) -> None:
    add_fault(sim, kind="bad_payload", variant="doctype", host="decrypt.co")
    assert b"<!DOCTYPE rss [<!ENTITY" in sim.full("GET", "/decrypt.co/feed")[2]


def test_wrong_values_of_some_assets(sim: Simulator) -> None:
    path = "/api.coingecko.com/api/v3/simple/price?ids=bitcoin,ethereum&vs_currencies=usd"
    before = fine(sim, path)
    add_fault(sim, kind="wrong_value", host="api.coingecko.com", factor=1000, assets=["btc"])
    after = fine(sim, path)
    ratios = [after[name]["usd"] / before[name]["usd"] for name in ("bitcoin", "ethereum")]
    assert ratios == [pytest.approx(1000, rel=0.02), pytest.approx(1, rel=0.02)]
    other = fine(sim, "/api.coinpaprika.com/v1/tickers/btc-bitcoin")["quotes"]["USD"]["price"]
    assert other == pytest.approx(before["bitcoin"]["usd"], rel=0.02)


def test_wrong_values_of_the_exchanges_own_tickers(sim: Simulator) -> None:
    path = "/fapi.binance.com/fapi/v2/ticker/price?symbol=BTCUSDT"
    before = float(fine(sim, path)["price"])
    add_fault(sim, kind="wrong_value", host="fapi.binance.com", factor=0.5)
    assert float(fine(sim, path)["price"]) == pytest.approx(before / 2, rel=0.02)


def test_old_values_have_old_stamps(sim: Simulator) -> None:
    path = f"{_GECKO}&include_last_updated_at=true"
    now_s = fine(sim, path)["bitcoin"]["last_updated_at"]
    add_fault(sim, kind="stale", host="api.coingecko.com", age_s=7200)
    assert fine(sim, path)["bitcoin"]["last_updated_at"] <= now_s - 7140


def test_nothing_is_known(sim: Simulator) -> None:
    add_fault(sim, kind="unknown")
    assert fine(sim, _GECKO) == {}
    assert answer(sim, _PAPRIKA)[0] == 404


def test_a_node_lags_or_is_of_another_chain(sim: Simulator) -> None:
    head = int(result(sim, _NODE, "eth_blockNumber"), 16)
    add_fault(sim, kind="lagging", host="*.drpc.org", blocks=50)
    assert int(result(sim, _NODE, "eth_blockNumber"), 16) <= head - 45
    assert int(result(sim, "/eth.merkle.io", "eth_blockNumber"), 16) >= head - 1
    add_fault(sim, kind="wrong_chain", host="eth.drpc.org")
    assert result(sim, _NODE, "eth_chainId") == hex(1337)
    assert int(result(sim, _NODE, "eth_blockNumber"), 16) <= head - 45  # lies add up


def test_a_rule_of_one_path(sim: Simulator) -> None:
    add_fault(sim, kind="rate_limited", host="public.1rpc.io", path="/eth")
    assert call(sim, "/public.1rpc.io/eth", "eth_chainId")["error"]["code"] == -32005
    assert result(sim, "/public.1rpc.io/bnb", "eth_chainId") == hex(56)


def test_a_share_of_the_requests_in_the_same_order_again(sim: Simulator) -> None:
    add_fault(sim, kind="status", status=503, host="api.coinlore.net", share=0.4)
    path = "/api.coinlore.net/api/ticker/?id=90"
    statuses = [answer(sim, path)[0] for _ in range(60)]
    assert 10 < statuses.count(503) < 40


def test_a_rule_ends_by_count_time_or_deletion(sim: Simulator) -> None:
    path = "/api.coinlore.net/api/ticker/?id=90"
    add_fault(sim, kind="status", status=503, host="api.coinlore.net", count=2)
    assert [answer(sim, path)[0] for _ in range(3)] == [503, 503, 200]
    sim.delete("/sim/providers/faults")
    add_fault(sim, kind="status", status=503, host="api.coinlore.net", seconds=60)
    assert answer(sim, path)[0] == 503
    sim.post("/sim/clock", {"pass_ms": 61_000})
    assert answer(sim, path)[0] == 200
    add_fault(sim, kind="status", status=503, host="api.coinlore.net")
    (rule,) = sim.get("/sim/providers/faults")
    assert sim.full("DELETE", f"/sim/providers/faults?number={rule['number']}")[0] == 200
    assert answer(sim, path)[0] == 200


def test_an_answer_that_is_late_is_late_in_simulated_time(sim: Simulator) -> None:
    add_fault(sim, kind="slow", host="api.coinlore.net", seconds_each=0.2)
    assert answer(sim, "/api.coinlore.net/api/ticker/?id=90")[0] == 200
    (asked,) = sim.get("/sim/providers/requests")["requests"]
    assert asked["took_s"] >= 0.2
    assert asked["faults"] == ["slow"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "class must be one of"),
        ([{"class": "unknown"}, {"class": "no"}], "class must be one of"),
        ({"class": "slow", "delay": 3}, "no field delay"),
        ({"class": "slow", "share": -1}, "share"),
        ({"class": "slow", "seconds": "x"}, "seconds"),
        ({"class": "slow", "host": 5}, "host"),
        ({"class": "slow", "path": 5}, "path"),
        ({"class": "wrong_value", "assets": [1]}, "assets"),
        ({"class": "status"}, "status"),
        ({"class": "status", "status": True}, "status"),
        ({"class": "bad_payload", "variant": "x"}, "variant"),
        ({"class": "key_rejected", "echo": "x"}, "echo"),
        ({"class": "reset", "echo": "plain"}, "echo"),
        ({"class": "recorded"}, "file"),
        ("x", "JSON object"),
    ],
)
def test_wrong_rules_are_refused_whole(sim: Simulator, rule: object, words: str) -> None:
    status, told = answer(sim, "/sim/providers/faults", rule)
    assert (status, words in told["detail"]) == (400, True), told
    assert sim.get("/sim/providers/faults") == []


def test_a_fault_is_told_of_each_request(sim: Simulator) -> None:
    add_fault(sim, kind="lagging", host="eth.drpc.org")
    add_fault(sim, kind="transient", host="eth.merkle.io", count=1)
    result(sim, _NODE, "eth_blockNumber")
    told = sim.get("/sim/providers/requests", host="eth.drpc.org")
    (asked,) = told["requests"]
    assert (asked["faults"], asked["rpc"], asked["status"]) == (
        ["lagging"], ["eth_blockNumber"], 200,
    )  # fmt: skip
    assert told["faults"] == {"lagging": 1}


_KEY = "Aa0+longer/than=16"
_ETHERSCAN_KEYED = _ETHERSCAN.replace("apikey=k", f"apikey={quote(_KEY, safe='')}")


@pytest.mark.parametrize(
    ("echo", "told"),
    [
        ("plain", _KEY),
        ("request", f"apikey={_KEY}"),
        ("percent", "Aa0%2Blonger%2Fthan%3D16"),
        ("base64", "QWEwK2xvbmdlci90aGFuPTE2"),
        ("basic", "dTpBYTArbG9uZ2VyL3RoYW49MTY="),
        ("hex", "4161302b6c6f6e6765722f7468616e3d3136"),
        ("upper_hex", "4161302B6C6F6E6765722F7468616E3D3136"),
        ("upper", "AA0+LONGER/THAN=16"),
        ("part", "Aa0+longe***"),
    ],
)
@pytest.mark.parametrize("kind", ["key_rejected", "rate_limited", "status", "bad_payload"])
def test_errors_repeat_what_they_are_told_to(
    sim: Simulator, kind: str, echo: str, told: str
) -> None:
    more = {"status": 500} if kind == "status" else {}
    sim.post("/sim/providers/faults", {"class": kind, "echo": echo, **more})
    _, _, body = sim.full("GET", _ETHERSCAN_KEYED)
    assert told in body.decode()


def test_a_header_is_repeated_too(sim: Simulator) -> None:
    sim.post("/sim/providers/faults", {"class": "key_rejected", "echo": "plain"})
    headers = {"Authorization": f"Bearer {_KEY}"}
    status, _, body = sim.full("GET", "/api.coingecko.com/api/v3/ping", headers=headers)
    assert status == 401 and _KEY in body.decode()
