"""docs/providers.md tells what is so: numbers, classes, times and tables; its lines run."""

import asyncio
import inspect
import os
import re
import sys
from typing import Final

import pytest

import perpcache.providers
from providers.breaker import FAILURES_IN_A_ROW, LEAST_CALLS, LONGEST_OPEN_MS, OPEN_MS, OPEN_SHARE
from providers.errors import ErrorClass
from providers.questions import AGENT_S, INTERACTIVE_S, STALE_LIMIT_S, Kind
from providers.registry_rows import TTL_S
from providers.rpc.facts import MOST_BLOCKS_BEHIND, MOST_S_BEHIND
from tests.docs.blocks import ROOT, claim
from tests.docs.provider_tables import counts
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator

TEXT: Final = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
PYTHON: Final = claim("docs/providers.md", "asyncio.run(main())")
SENTENCES: Final = " ".join(TEXT.split())
_SECONDS: Final = {"s": 1, "minutes": 60, "hour": 3600, "hours": 3600}


def seconds(words: str) -> float:
    if words == "never":
        return 0.0
    number, unit = words.split()
    return float(number) * _SECONDS[unit]


@pytest.mark.parametrize("kind", Kind)
def test_how_long_answers_are_given(kind: Kind) -> None:
    [(fresh, old)] = re.findall(
        rf"^\| .* \| `{kind}(?:\.\*)?` \| (.*) \| (.*) \|$", TEXT, re.MULTILINE
    )
    assert (seconds(fresh), seconds(old)) == (TTL_S[kind], STALE_LIMIT_S[kind])


def test_numbers() -> None:
    living, chains, keyless = counts()
    assert f"knows {living} of them in {chains} chains, {keyless} of which need no key" in SENTENCES
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"asks {living} other sources, from CoinGecko and" in readme
    assert (INTERACTIVE_S, AGENT_S) == (3, 20)
    assert "3 seconds for a client, 20 for the agent." in SENTENCES
    assert (MOST_BLOCKS_BEHIND, MOST_S_BEHIND) == (16, 30)
    assert "16 blocks or 30 seconds behind" in SENTENCES
    assert (FAILURES_IN_A_ROW, LEAST_CALLS, OPEN_SHARE) == (5, 5, 0.5)
    assert "five in a row, or when half of at least five calls within a minute" in SENTENCES
    assert (OPEN_MS, LONGEST_OPEN_MS) == (60_000, 900_000)
    assert "left out for a minute, then for two, up to 15" in SENTENCES


def test_classes() -> None:
    section = TEXT.partition("## What happens when one fails")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*ErrorClass]


@pytest.fixture
def simulated(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(providers=True, binance=0, bybit=0)


async def test_the_program(simulated: Simulator, redis_url: str) -> None:
    stores = {"REDIS_URL": redis_url, "PROVIDERS_BASE_URL": simulated.base_url}

    async def look() -> str | None:
        """What it prints; None if the machine was too slow for an answer within 3 s."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PYTHON.text),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **stores},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed = (await process.communicate())[0].decode()
        assert process.returncode == 0, printed
        return printed if "news: " in printed else None

    printed = await until(look, 60)
    assert re.search(r"^price: [\d.]+ USD, by \w+$", printed, re.MULTILINE), printed
    assert re.search(r"^mood: \d+ of 100, [\w ]+, fear_greed_\w+$", printed, re.MULTILINE), printed
    assert re.search(r"^gas: base fee \d+ wei in block \d+$", printed, re.MULTILINE), printed
    assert len(re.findall(r"^news: .+ \(.+\)$", printed, re.MULTILINE)) == 3, printed


def test_the_names_of_the_package() -> None:
    section = TEXT.partition("## In Python")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `(\w+)(?:\((\w+(?:, \w+)*)\))?` \|", section, re.MULTILINE)
    assert len(found) == 9
    for name, parameters in found:
        told = getattr(perpcache.providers, name)
        if parameters:
            known = inspect.signature(told).parameters
            assert parameters.split(", ") == [each for each in known if each != "within_s"]
    for name in re.findall(r"`(collect_\w+)\(\)`", section):
        assert hasattr(perpcache.providers.DataCollectorService, name)
