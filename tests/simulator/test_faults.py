"""Every kind of fault does to a real client what it says."""

import email.utils
import http.client
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fixtures.signals import until_now
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.faults import fault

HOUR_MS = 3_600_000
STEP = 4 * HOUR_MS
KLINES = "/fapi/v1/klines?symbol=BTCUSDT&interval=4h&limit=20"
KLINE = "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=240&limit=20"
OI = "/v5/market/open-interest?category=linear&symbol=BTCUSDT&intervalTime=4h&limit=20"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 403, 408, 451, 404])
def test_statuses_of_binance(sim: Simulator, status: int) -> None:
    fault(sim, "status", exchange="binance", endpoint="klines", status=status, count=1)
    found, headers, body = sim.full("GET", KLINES)
    assert found == status
    if status in (500, 451, 408):
        assert set(json.loads(body)) == {"code", "msg"}
    else:
        assert headers["Content-Type"] == "text/html"
        assert body.startswith(b"<html>")
    assert sim.full("GET", KLINES)[0] == 200  # once is once
    assert sim.stats()["faults"] == {"status": 1}


def test_the_three_texts_of_503(sim: Simulator) -> None:
    for variant, text in (
        ("unknown", "Unknown error, please check your request or try again later."),
        ("unavailable", "Service Unavailable."),
    ):
        fault(sim, "status", exchange="binance", status=503, variant=variant, count=1)
        status, _, body = sim.full("GET", KLINES)
        assert (status, json.loads(body)["msg"]) == (503, text)
    fault(sim, "status", exchange="binance", status=503, variant="overload", count=1)
    assert json.loads(sim.full("GET", KLINES)[2])["code"] == -1008


def beyond(answer: tuple[int, Any, bytes], status: int) -> tuple[int, Any, bytes] | None:
    """The answer, unless it still has this status."""
    return None if answer[0] == status else answer


def test_429_and_418_are_kept_to(sim: Simulator) -> None:
    fault(sim, "status", exchange="binance", status=429, retry_after=600, count=1)
    status, headers, _ = sim.full("GET", KLINES)
    assert (status, headers["Retry-After"]) == (429, "600")
    # Going on after a 429 is a ban, fault or not, when the grace for those on their way is over.
    status, _, body = until_now(lambda: beyond(sim.full("GET", KLINES), 429))
    assert status == 418
    assert b"banned until" in body
    sim.post("/sim/limits/reset")
    fault(sim, "status", exchange="binance", status=418, ban_s=600, count=1)
    status, _, body = sim.full("GET", KLINES)
    assert status == 418
    assert f"banned until {NOW_MS + 600_000}".encode() in body
    assert sim.full("GET", KLINES)[0] == 418
    stats = sim.stats()
    assert stats["requests_while_banned"] == 1
    # What was injected is a fault, what the client made of it is a broken limit.
    assert stats["faults"] == {"status": 2}
    assert stats["limits_broken"] == {"binance 418": 1}


def test_the_three_403_of_bybit(sim: Simulator) -> None:
    fault(sim, "status", exchange="bybit", status=403, variant="geo", count=1)
    assert b"block access from your country" in sim.full("GET", KLINE)[2]
    fault(sim, "status", exchange="bybit", status=403, variant="body", count=1)
    body = sim.full("GET", KLINE)[2]
    assert b"country" not in body
    assert b"<HTML>" in body
    assert sim.full("GET", KLINE)[0] == 200
    fault(sim, "status", exchange="bybit", status=403, ban_s=600, count=1)
    assert sim.full("GET", KLINE)[0::2] == (403, b"access too frequent")
    assert sim.full("GET", KLINE)[0] == 403
    assert sim.full("GET", KLINES)[0] == 200  # the other exchange is not concerned


def test_blocked_countries(sim: Simulator) -> None:
    fault(sim, "geo", count=2)
    status, _, body = sim.full("GET", KLINES)
    assert (status, json.loads(body)["code"]) == (451, 0)
    assert "restricted location" in json.loads(body)["msg"]
    assert sim.full("GET", KLINE)[0] == 403


@pytest.mark.parametrize(
    "code, text",
    [(10006, "Too many visits!"), (10000, "Server Timeout"), (10016, "Internal server error")],
)
def test_retcodes(sim: Simulator, code: int, text: str) -> None:
    fault(sim, "retcode", exchange="bybit", code=code, count=1)
    status, headers, body = sim.full("GET", KLINE)
    answer = json.loads(body)
    assert (status, answer["retCode"], answer["retMsg"]) == (200, code, text)
    assert answer["result"] == {}
    assert headers["Ret_code"] == str(code)


@pytest.mark.parametrize("path", [KLINES, KLINE, OI, "/fapi/v1/exchangeInfo"])
def test_spoilt_bodies(sim: Simulator, path: str) -> None:
    whole = sim.full("GET", path)[2]
    fault(sim, "truncated_json", count=1)
    half = sim.full("GET", path)[2]
    assert whole[:40] == half[:40]
    with pytest.raises(json.JSONDecodeError):
        json.loads(half)
    fault(sim, "empty_body", count=1)
    assert sim.full("GET", path)[0::2] == (200, b"")
    fault(sim, "html_200", count=1)
    status, headers, body = sim.full("GET", path)
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert body.startswith(b"<html>")
    fault(sim, "wrong_types", count=1)
    wrong = json.loads(sim.full("GET", path)[2])
    rows = _rows(wrong)
    assert rows[0] is None
    assert type(rows[1]) is not type(_rows(json.loads(whole))[1]) or isinstance(rows[1], dict)
    assert sim.full("GET", path)[0] == 200


def _rows(body: Any) -> list[Any]:
    found: list[Any] = (
        body if isinstance(body, list)
        else body["symbols"] if "symbols" in body
        else body["result"]["list"]
    )  # fmt: skip
    return found


def test_reset_and_hang_and_slow(sim: Simulator) -> None:
    fault(sim, "reset", count=1)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        sim.full("GET", KLINES)
    fault(sim, "hang", seconds=0.4, count=1)
    started = time.monotonic()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        sim.full("GET", KLINES)
    assert time.monotonic() - started >= 0.4
    fault(sim, "slow", seconds=0.3, count=1)
    started = time.monotonic()
    assert sim.full("GET", KLINES)[0] == 200
    assert time.monotonic() - started >= 0.3
    assert sim.stats()["requests"]["binance"]["klines"] == {"0": 2, "200": 1}


@pytest.mark.parametrize("path", [KLINES, KLINE])
def test_nonsense_candles(sim: Simulator, path: str) -> None:
    good = _rows(json.loads(sim.full("GET", path)[2]))

    def spoilt(variant: str) -> list[Any]:
        fault(sim, "nonsense", variant=variant, count=1)
        return _rows(json.loads(sim.full("GET", path)[2]))

    assert any(float(row[2]) < float(row[3]) for row in spoilt("high_below_low"))
    assert any(float(row[5]) < 0 for row in spoilt("negative_volume"))
    assert any(row[4] == "NaN" for row in spoilt("nan"))
    assert any(int(row[0]) % STEP for row in spoilt("off_grid"))
    unsorted = spoilt("unsorted")
    assert unsorted != good
    assert sorted(unsorted) == sorted(good)
    times = [int(row[0]) for row in spoilt("duplicate")]
    assert len(times) == len(set(times)) + 1
    assert any(row[1:5] == ["0"] * 4 for row in spoilt("zero_price"))
    assert any(float(row[4]) > float(row[2]) for row in spoilt("close_above_high"))
    assert len({str(row) for row in spoilt("disputed")}) == len({str(row) for row in good}) + 1
    written = [row[5] for row in spoilt("exponent")]
    assert any("E" in volume for volume in written)
    assert [float(volume) for volume in written] == [float(row[5]) for row in good]
    assert [row[:-1] for row in spoilt("extra_element")] == good
    fault(sim, "nonsense", variant="null_list", count=1)
    answer = json.loads(sim.full("GET", path)[2])
    assert (answer if answer is None else answer["result"]["list"]) is None


@pytest.mark.parametrize("path", [KLINES, KLINE])
def test_candles_that_are_sent_as_impossible_ones_are_no_truth(sim: Simulator, path: str) -> None:
    exchange = "binance" if path == KLINES else "bybit"
    closed_ms = NOW_MS - NOW_MS % STEP - STEP
    variants = ("high_below_low", "zero_price", "close_above_high", "off_grid", "blank")
    holes = [closed_ms - (2 * n + 1) * STEP for n in range(len(variants))]
    before = sim.truth("4h", candles=20)[f"{exchange}:ETHUSDT"]
    for hole, variant in zip(holes, variants, strict=True):
        spoilt = {"exchange": exchange, "symbol": "ETHUSDT", "variant": variant}
        fault(sim, "impossible", times=[hole], **spoilt)
    rows = _rows(json.loads(sim.full("GET", path.replace("BTC", "ETH"))[2]))
    sent = {int(row[0]) // STEP * STEP: row for row in rows}
    crossed, zeros, above, shifted, blank = (sent[hole] for hole in holes)
    assert float(crossed[2]) < float(crossed[3])
    assert zeros[1:5] == ["0"] * 4
    assert float(above[4]) > float(above[2])
    assert int(shifted[0]) % STEP == 61_000
    assert blank[1:6] == [None] * 5
    truth = sim.truth("4h", candles=20)[f"{exchange}:ETHUSDT"]
    assert truth == [row for row in before if row[0] not in holes]
    whole = {row[0]: row for row in sim.truth("8h", candles=20)[f"{exchange}:ETHUSDT"]}
    fours = {row[0]: row for row in truth}
    for open_ms, row in whole.items():
        made_of = [fours[at] for at in (open_ms, open_ms + STEP) if at in fours]
        assert row[1:5] == [
            made_of[0][1], max(r[2] for r in made_of), min(r[3] for r in made_of), made_of[-1][4]
        ]  # fmt: skip
        assert row[7] == fours.get(open_ms, [None] * 9)[7]
    fault(sim, "impossible", exchange=exchange, symbol="ETHUSDT", times=[])


def test_blank_entries_in_lists(sim: Simulator) -> None:
    for path in ("/fapi/v1/premiumIndex", "/v5/market/tickers?category=linear"):
        good = _rows(json.loads(sim.full("GET", path)[2]))
        fault(sim, "nonsense", variant="blank_entries", count=1)
        spoilt = _rows(json.loads(sim.full("GET", path)[2]))
        assert spoilt[1 : 1 + len(good)] == good
        assert [spoilt[0], *(entry["symbol"] for entry in spoilt[1 + len(good) :])] == [
            None, *["0BLANKUSDT"] * 3
        ]  # fmt: skip


def test_unclear_entries_in_lists_of_contracts(sim: Simulator) -> None:
    for path in ("/fapi/v1/exchangeInfo", "/v5/market/instruments-info?category=linear"):
        good = json.loads(sim.full("GET", path)[2])
        first, second, *rest = good["symbols"] if "symbols" in good else good["result"]["list"]
        fault(sim, "nonsense", variant="unclear_entries", count=1)
        odd = json.loads(sim.full("GET", path)[2])
        assert (odd["symbols"] if "symbols" in odd else odd["result"]["list"]) == [
            first | {"status": None}, second | {"symbol": f"{second['symbol']} "}, *rest
        ]  # fmt: skip


def test_unclear_and_blank_entries_in_okx_lists(start_simulator: StartSimulator) -> None:
    sim = start_simulator(binance=0, bybit=0, okx=3, now=NOW_MS, frozen=True)
    path = "/api/v5/public/instruments?instType=SWAP"
    first, second, *rest = json.loads(sim.full("GET", path)[2])["data"]
    fault(sim, "nonsense", variant="unclear_entries", count=1)
    assert json.loads(sim.full("GET", path)[2])["data"] == [
        first | {"state": None}, second | {"instId": f"{second['instId']} "}, *rest
    ]  # fmt: skip
    fault(sim, "nonsense", variant="blank_entries", count=1)
    nothing, *same, null, blank, empty = json.loads(sim.full("GET", path)[2])["data"]
    assert (nothing, same) == (None, [first, second, *rest])
    assert [entry["instId"] for entry in (null, blank, empty)] == ["0BLANKUSDT"] * 3
    assert [entry["state"] for entry in (null, blank, empty)] == [None, "", []]


def test_nonsense_snapshots_and_settlements(sim: Simulator) -> None:
    def spoilt(path: str, variant: str) -> list[Any]:
        fault(sim, "nonsense", variant=variant, count=1)
        return _rows(json.loads(sim.full("GET", path)[2]))

    assert any(float(row["openInterest"]) < 0 for row in spoilt(OI, "negative_volume"))
    assert any(int(row["timestamp"]) % STEP for row in spoilt(OI, "off_grid"))
    funding = "/fapi/v1/fundingRate?symbol=BTCUSDT&limit=9"
    assert any(row["fundingRate"] == "NaN" for row in spoilt(funding, "nan"))
    assert any(row["fundingRate"] == "" for row in spoilt(funding, "blank_rate"))
    assert any(row["fundingRate"] == "0.5" for row in spoilt(funding, "disputed"))


def test_short_pages_keep_the_end_that_the_page_starts_from(sim: Simulator) -> None:
    def times(path: str) -> list[int]:
        return [int(row[0]) for row in _rows(json.loads(sim.full("GET", path)[2]))]

    forward = KLINES + f"&startTime={NOW_MS - 400 * STEP}"
    whole = times(KLINES), times(forward), times(KLINE)
    fault(sim, "short_page")
    assert times(KLINES) == whole[0][-10:]  # the newest
    assert times(forward) == whole[1][:10]  # from the start
    assert times(KLINE) == whole[2][:10]  # newest first
    sim.delete("/sim/faults")
    fault(sim, "short_page", rows=3)
    assert times(KLINES) == whole[0][-3:]


def test_short_pages_have_honest_cursors(sim: Simulator) -> None:
    fault(sim, "short_page", endpoint="open_interest")
    seen: list[str] = []
    cursor = ""
    for _ in range(10):
        suffix = f"&startTime={NOW_MS - 60 * STEP}&endTime={NOW_MS}&cursor={cursor}"
        result = json.loads(sim.full("GET", OI + suffix)[2])["result"]
        seen += [row["timestamp"] for row in result["list"]]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
    assert cursor == ""
    assert len(seen) == len(set(seen)) == 60


def test_a_cursor_that_repeats(sim: Simulator) -> None:
    fault(sim, "repeated_cursor", exchange="bybit")
    first = json.loads(sim.full("GET", OI)[2])["result"]
    again = json.loads(sim.full("GET", OI + "&cursor=" + first["nextPageCursor"])[2])["result"]
    assert first["nextPageCursor"]
    assert again == first


def test_whom_and_how_often(sim: Simulator) -> None:
    def statuses(n: int, path: str = KLINES, **headers: str) -> list[int]:
        return [sim.full("GET", path, headers=headers)[0] for _ in range(n)]

    rule = fault(sim, "status", status=500, symbol=["ETHUSDT", "SOLUSDT"], endpoint="klines")
    assert rule[0]["used"] == 0
    assert statuses(1) == [200]
    assert statuses(1, KLINES.replace("BTC", "ETH")) == [500]
    assert statuses(1, KLINE.replace("BTC", "SOL")) == [500]
    assert statuses(1, OI.replace("BTC", "SOL")) == [200]
    assert sim.get("/sim/faults")[0]["used"] == 2
    sim.delete("/sim/faults")

    fault(sim, "status", status=500, after=2, count=2)
    assert statuses(6) == [200, 200, 500, 500, 200, 200]
    sim.delete("/sim/faults")

    fault(sim, "status", status=500, client="x")
    assert statuses(1) == [200]
    assert statuses(1, **{"X-Sim-Client": "x"}) == [500]
    sim.delete("/sim/faults")

    fault(sim, "status", status=500, duration_s=0.2)
    assert statuses(1) == [500]
    until_now(lambda: statuses(1) == [200])
    sim.delete("/sim/faults")


def test_chance_depends_on_the_seed(start_simulator: Any) -> None:
    def outcomes(seed: int) -> list[int]:
        rules = [{"kind": "status", "status": 500, "probability": 0.5}]
        simulator: Simulator = start_simulator(binance=1, bybit=0, seed=seed, faults=rules)
        found = [simulator.full("GET", "/fapi/v1/time")[0] for _ in range(40)]
        simulator.stop()
        return found

    first = outcomes(5)
    assert outcomes(5) == first
    assert 5 < first.count(500) < 35
    assert outcomes(6) != first


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "nothing"},
        {"kind": "status"},
        {"kind": "retcode"},
        {"kind": "status", "status": 500, "probabilty": 0.5},
        {"kind": "status", "status": 500, "count": -1},
        {"kind": "nonsense", "variant": "silly"},
        {"kind": "delist", "exchange": "binance", "symbol": "NOSUCHPAIR"},
        {"kind": "missing_oi", "exchange": "binance", "symbol": "BTCUSDT"},
        {"kind": "correction", "exchange": "binance", "symbol": "BTCUSDT", "time": NOW_MS},
        {"kind": "funding_interval", "exchange": "binance", "symbol": "BTCUSDT", "hours": 3},
        "status",
    ],
)
def test_rules_that_make_no_sense(sim: Simulator, rule: object) -> None:
    status, _, body = sim.full("POST", "/sim/faults", json_body=rule)
    assert status == 400
    assert json.loads(body)["detail"]
    assert sim.get("/sim/faults") == []


# --- changes of the world: wire and truth follow


@pytest.fixture
def world(start_simulator: Any) -> Simulator:
    simulator: Simulator = start_simulator(binance=4, bybit=4, now=NOW_MS, frozen=True)
    return simulator


def test_delisting(world: Simulator) -> None:
    assert len(world.truth("4h", candles=2)) == 8
    for exchange in ("binance", "bybit"):
        fault(world, "delist", exchange=exchange, symbol="ETHUSDT")
    status, _, body = world.full("GET", KLINES.replace("BTC", "ETH"))
    assert (status, json.loads(body)["code"]) == (400, -1121)
    answer = world.get(KLINE.replace("BTC", "ETH"))
    assert (answer["retCode"], answer["retMsg"]) == (10001, "Not supported symbols")
    listed = world.get("/v5/market/instruments-info", category="linear")["result"]["list"]
    assert "ETHUSDT" not in [entry["symbol"] for entry in listed]
    symbols = {s["symbol"]: s["status"] for s in world.get("/fapi/v1/exchangeInfo")["symbols"]}
    assert symbols["ETHUSDT"] == "SETTLING"  # stays in the list
    assert "binance:ETHUSDT" not in world.truth("4h", candles=2)
    assert world.stats()["rejected_total"] == 0  # nobody could know
    assert len(world.truth("4h", candles=2)) == 6


def test_a_new_listing(world: Simulator) -> None:
    done = fault(world, "list_new", exchange="binance", symbol="NEWCOIN", age_ms=9 * HOUR_MS)
    assert done[0]["market"] == "binance:NEWCOINUSDT"
    rows = world.get("/fapi/v1/klines", symbol="NEWCOINUSDT", interval="1h")
    assert len(rows) in (10, 11)
    symbols = {s["symbol"]: s for s in world.get("/fapi/v1/exchangeInfo")["symbols"]}
    assert symbols["NEWCOINUSDT"]["status"] == "TRADING"
    truth = world.truth("1h")["binance:NEWCOINUSDT"]
    assert [row[0] for row in truth] == [row[0] for row in rows]


def test_snapshots_that_were_never_taken(world: Simulator) -> None:
    gone = NOW_MS - NOW_MS % STEP - 5 * STEP
    fault(world, "missing_oi", exchange="bybit", symbol="BTCUSDT", times=[gone])
    times = [int(row["timestamp"]) for row in world.get(OI)["result"]["list"]]
    assert gone not in times
    assert gone - STEP in times
    rows = {row[0]: row for row in world.truth("4h")["bybit:BTCUSDT"]}
    assert rows[gone][7] is None
    assert rows[gone - STEP][7] is not None


@pytest.mark.parametrize("path, key", [(KLINES, "binance:BTCUSDT"), (KLINE, "bybit:BTCUSDT")])
def test_corrections_of_closed_candles(world: Simulator, path: str, key: str) -> None:
    def volumes() -> dict[int, tuple[float, float, float]]:
        rows = _rows(world.get(path))
        place = 7 if key.startswith("binance") else 6
        return {int(r[0]): (float(r[2]), float(r[5]), float(r[place])) for r in rows}

    before = volumes()
    old = {row[0]: row for row in world.truth("4h")[key]}
    at = NOW_MS - NOW_MS % STEP - 2 * STEP + HOUR_MS
    fault(world, "correction", exchange=key.split(":")[0], symbol="BTCUSDT", time=at)
    after = volumes()
    start = at - at % STEP
    assert {time for time in before if before[time] != after[time]} == {start}
    assert after[start][1] > before[start][1]
    new = {row[0]: row for row in world.truth("4h")[key]}
    assert (new[start][2], new[start][5], new[start][6]) == after[start]
    assert {time for time in old if old[time] != new[time]} == {start}


def test_funding_interval_changes(world: Simulator) -> None:
    done = fault(world, "funding_interval", exchange="binance", symbol="BTCUSDT", hours=1)
    from_ms = NOW_MS - NOW_MS % HOUR_MS + HOUR_MS
    assert done[0] == {
        "kind": "funding_interval", "market": "binance:BTCUSDT", "from_ms": from_ms, "hours": 1,
    }  # fmt: skip
    world.post("/sim/clock", {"advance_ms": 5 * HOUR_MS})
    rows = world.get("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=6)
    hours = [row["fundingTime"] // HOUR_MS for row in rows]
    assert [later - earlier for earlier, later in itertools.pairwise(hours)] == [
        7, 1, 1, 1, 1,
    ]  # fmt: skip
    listed = {
        row["symbol"]: row["fundingIntervalHours"] for row in world.get("/fapi/v1/fundingInfo")
    }
    assert listed["BTCUSDT"] == 1


def test_an_answer_is_held_until_its_rule_is_deleted(simulator: Simulator) -> None:
    hold = simulator.post("/sim/faults", {"kind": "hold", "exchange": "bybit", "count": 2})[0]
    other = simulator.post("/sim/faults", {"kind": "empty_body", "exchange": "binance"})[0]
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(simulator.full, "GET", "/v5/market/time") for _ in range(2)]
        assert simulator.get("/sim/held", count=2)["held"] == 2
        assert not any(answer.done() for answer in held)
        assert simulator.full("GET", "/v5/market/time")[0] == 200  # the third is not held
        rules = json.loads(simulator.full("DELETE", f"/sim/faults?number={hold['number']}")[2])
        assert [answer.result(60)[0] for answer in held] == [200, 200]
    assert [rule["number"] for rule in rules] == [other["number"]]
    assert simulator.get("/sim/held", count=1, deadline_s=0)["held"] == 0


def test_a_clock_that_is_off(sim: Simulator) -> None:
    before = sim.full("GET", KLINES)[2]
    seconds = NOW_MS // 1000
    for variant, body_off_s, date_off_s, age in (
        ("body", -10800, 0, None),
        ("date", 7200, 7200, None),
        ("cached", -300, -300, "300"),
    ):
        fault(sim, "clock_offset", exchange="bybit", offset_ms=body_off_s * 1000, variant=variant)
        _, headers, body = sim.full("GET", "/v5/market/time")
        assert json.loads(body)["result"]["timeSecond"] == str(seconds + body_off_s)
        date = email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
        assert (date, headers.get("Age")) == (seconds + date_off_s, age)
        # Nothing else moves: the other exchange, other answers, the clock of the simulator.
        assert sim.get("/fapi/v1/time")["serverTime"] == NOW_MS
        assert sim.full("GET", KLINES)[2] == before
        _, headers, _ = sim.full("GET", KLINE)
        assert email.utils.parsedate_to_datetime(headers["Date"]).timestamp() == seconds
        sim.delete("/sim/faults")
        assert sim.get("/sim/clock")["bybit_ms"] == NOW_MS


@pytest.mark.parametrize(
    "settings", [{}, {"offset_ms": 1.5}, {"offset_ms": True}, {"offset_ms": 10**16},
                 {"offset_ms": 1, "variant": "odd"}, {"offset_ms": 1, "variant": "cached"}],
)  # fmt: skip
def test_an_impossible_offset_is_refused(sim: Simulator, settings: dict[str, object]) -> None:
    status, _, body = sim.full("POST", "/sim/faults", json_body={"kind": "clock_offset"} | settings)
    assert status == 400
    assert b"offset_ms" in body or b"variant" in body
