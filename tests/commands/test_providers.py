"""`providers` on the command line: its list, and probes of simulated providers."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from database import Database
from main import main
from tests.fixtures.forked import ended
from tests.fixtures.simulator import Simulator, StartSimulator

RunProviders = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def imitated(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(providers=True, binance=5, bybit=5)


@pytest.fixture
def run(imitated: Simulator, redis_url: str, database_url: str, tmp_path: Path) -> RunProviders:
    """Runs `main.py providers ...`: the exit code and what it printed."""

    async def run(*words: str, **variables: str) -> tuple[int, str, str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "DATA_DIR": str(tmp_path / "data"),
            "PROVIDERS_BASE_URL": imitated.base_url,
            **variables,
        }
        return await ended(main, ["providers", *words], environment, tmp_path)

    return run


def as_json(printed: str) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in json.loads(printed)}


async def test_the_list_tells_who_is_asked_and_why_not(run: RunProviders) -> None:
    code, printed, _ = await run("list", "price.aggregate", "--json", CMC_API_KEY="k-secret-1")
    assert code == 0
    found = as_json(printed)
    assert found["price.aggregate/coingecko"]["asked"]
    assert found["price.aggregate/coingecko"]["key"] == "optional"
    assert (found["price.aggregate/cmc"]["asked"], found["price.aggregate/cmc"]["key"]) == (
        True,
        "set",
    )
    second = found["price.aggregate/cmc:2"]
    assert (second["asked"], second["key"], second["variable"]) == (
        False,
        "missing",
        "CMC_API_KEY_2",
    )
    dead = found["price.aggregate/nomics"]
    assert (dead["asked"], dead["state"], dead["note"]) == (False, "dead", "the service has ended")
    assert "k-secret-1" not in printed
    code, printed, _ = await run("list", "price.aggregate")
    assert code == 0
    assert "needs CMC_API_KEY_2" in printed
    assert printed.splitlines()[-1].startswith(f"{len(found)} resources, ")


async def test_what_is_off_and_answers_a_probe_is_asked_from_then_on(run: RunProviders) -> None:
    code, printed, _ = await run("probe", "gas.ethereum/owlracle", "kraken", "gas.evm/rpc")
    assert code == 0
    lines = {line.split()[0]: line for line in printed.splitlines()}
    assert "it is asked from now on" in lines["gas.ethereum/owlracle"]
    assert " btc " in lines["price.spot/kraken"]
    assert "from now on" not in lines["price.spot/kraken"]
    assert printed.endswith("3 of 3 answered\n")
    _, printed, _ = await run("list", "gas.ethereum", "--json")
    found = as_json(printed)
    assert found["gas.ethereum/owlracle"]["asked"]
    assert found["gas.ethereum/owlracle"]["p70_ms"] is not None
    assert not found["gas.ethereum/beaconcha"]["asked"]


async def test_what_fails_its_probe_is_told_with_the_reason(run: RunProviders) -> None:
    """And what is another question than its chain's stays off, whatever it answers."""
    names = ("price.aggregate/messari", "price.aggregate/nomics", "whales.evm/own")
    code, printed, _ = await run("probe", *names, "price.spot/hyperliquid", "--json")
    assert code == 1
    found = {each["id"]: each for each in map(json.loads, printed.splitlines())}
    assert not any(each["answered"] or each["turned_on"] for each in found.values())
    assert "MESSARI_API_KEY" in found["price.aggregate/messari"]["error"]
    assert found["price.aggregate/nomics"]["error"] == "not asked: the service has ended"
    assert "reads whole blocks" in found["whales.evm/own"]["error"]
    _, printed, _ = await run("list", "price.spot", "--json")
    assert not as_json(printed)["price.spot/hyperliquid"]["asked"]


async def test_what_an_operator_has_disabled_stays_off_whatever_a_probe_sees(
    run: RunProviders, database_url: str
) -> None:
    database = Database(database_url)
    names = ("gas.ethereum/owlracle", "price.spot/kraken")
    for name in names:
        await database.providers.conduct.switch(name, False, at_ms=1, by="an operator")
    code, printed, _ = await run("probe", *names, "--json")
    assert code == 0
    told = {each["id"]: each for each in map(json.loads, printed.splitlines())}
    assert {(each["answered"], each["turned_on"]) for each in told.values()} == {(True, False)}
    assert await database.providers.conduct.switches() == dict.fromkeys(names, False)
    await database.aclose()


async def test_an_unknown_name_is_refused(run: RunProviders) -> None:
    code, printed, errors = await run("list", "krakn")
    assert (code, printed) == (1, "")
    assert "krakn is no resource, chain or provider: did you mean kraken?" in errors


@pytest.mark.parametrize(
    "command",
    [("providers", "list"), ("serve",), ("serve", "--one-process"), ("api",), ("worker",)],
)
async def test_a_wrong_file_ends_the_start_with_file_and_line(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[[resources]]\nid = "price.spot/mine"\nlevel = "top"\n')
    environment = {
        "PATH": "/usr/bin:/bin",
        "DATA_DIR": str(tmp_path / "data"),
        "PROVIDERS": str(own),
    }
    code, _, errors = await ended(main, command, environment, tmp_path)
    assert code == 78
    assert f"PROVIDERS: {own}:3: price.spot/mine: level: " in errors
    assert not (tmp_path / "data").exists()  # no store was started for it
