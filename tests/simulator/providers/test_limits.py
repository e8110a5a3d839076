"""Limits of simulated providers: windows by client and key, suspensions, what is counted."""

from tests.fixtures.simulator import Simulator, StartSimulator
from tests.simulator.providers.asking import answer

_GECKO = "/api.coingecko.com/api/v3/ping"
_PRICES = "/mempool.space/api/v1/prices"
_ETHERSCAN = "/api.etherscan.io/v2/api?chainid=1&module=stats&action=ethprice&apikey="


def test_one_too_many_is_refused_until_the_window_is_over(sim: Simulator) -> None:
    statuses = [answer(sim, _GECKO)[0] for _ in range(31)]
    assert statuses == [200] * 30 + [429]
    _, headers, _ = sim.full("GET", _GECKO)
    assert 1 <= int(headers["Retry-After"]) <= 60
    told = sim.get("/sim/providers/requests")
    assert told["limits_broken"] == {"coingecko": 2}
    assert told["most_in_window"]["coingecko"] == {"60s": 32}
    assert [request["refused"] for request in told["requests"][-2:]] == [True, True]
    assert answer(sim, _GECKO, **{"X-Sim-Client": "another"})[0] == 200
    sim.post("/sim/clock", {"pass_ms": 61_000})
    assert answer(sim, _GECKO)[0] == 200


def test_each_key_has_its_own_limit(sim: Simulator) -> None:
    for key in "ab":
        told = [answer(sim, _ETHERSCAN + key)[1]["status"] for _ in range(4)]
        assert told == ["1", "1", "1", "0"]


def test_who_breaks_a_limit_there_is_suspended(sim: Simulator) -> None:
    assert [answer(sim, _PRICES)[0] for _ in range(11)] == [200] * 10 + [429]
    sim.post("/sim/clock", {"pass_ms": 100_000})
    assert answer(sim, _PRICES)[0] == 429
    assert sim.get("/sim/providers/requests")["asked_while_suspended"] == {"mempool.space": 1}
    sim.post("/sim/clock", {"pass_ms": 21_000})
    assert answer(sim, _PRICES)[0] == 200


def test_heavy_requests_count_more(sim: Simulator) -> None:
    path = "/data-api.binance.vision/api/v3/ticker/24hr"
    assert answer(sim, path)[0] == 200
    told = sim.get("/sim/providers/requests")
    assert told["most_in_window"]["binance spot"] == {"60s": 80}


def test_the_exchanges_own_limits_count_their_tickers(start_simulator: StartSimulator) -> None:
    sim = start_simulator(providers=True, binance=1, bybit=1)
    for path in ("/fapi/v1/time", "/fapi.binance.com/fapi/v1/time"):
        assert answer(sim, path, **{"X-Sim-Client": "one"})[0] == 200
    assert sim.stats()["most_weight_in_a_minute"] == 2


def test_without_limits_they_are_counted_alone(start_simulator: StartSimulator) -> None:
    sim = start_simulator(providers=True, no_limits=True, binance=0, bybit=0)
    assert {answer(sim, _PRICES)[0] for _ in range(12)} == {200}
    assert sim.get("/sim/providers/requests")["limits_broken"] == {"mempool.space": 2}


def test_what_it_does_not_have_is_told(sim: Simulator) -> None:
    assert answer(sim, "/nobody.example/x")[0] == 404
    assert answer(sim, "/mempool.space/nothing")[0] == 404
    told = sim.get("/sim/providers/requests")
    assert told["unknown"] == {"nobody.example/": 1, "GET mempool.space/nothing": 1}


def test_the_overview_names_all_hosts(sim: Simulator) -> None:
    sites = sim.get("/sim/providers")["sites"]
    hosts = [host for site in sites for host in site["hosts"]]
    assert len(hosts) == len(set(hosts)) > 130
