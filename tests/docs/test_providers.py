"""docs/providers.md tells what is so: numbers, classes, times and tables; its lines run."""

import re
from typing import Final

import pytest

from providers.breaker import FAILURES_IN_A_ROW, LEAST_CALLS, LONGEST_OPEN_MS, OPEN_MS, OPEN_SHARE
from providers.errors import ErrorClass
from providers.questions import AGENT_S, HISTORY_S, INTERACTIVE_S, STALE_LIMIT_S, Kind
from providers.registry_rows import TTL_S
from providers.rpc.facts import MOST_BLOCKS_BEHIND, MOST_S_BEHIND
from tests.docs.blocks import ROOT
from tests.docs.provider_tables import counts

TEXT: Final = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
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
    assert (INTERACTIVE_S, AGENT_S, HISTORY_S) == (3, 20, 60)
    assert "3 seconds for a client, 20 for the agent, 60 for the history" in SENTENCES
    assert (MOST_BLOCKS_BEHIND, MOST_S_BEHIND) == (16, 30)
    assert "more than 16 blocks or 30 seconds behind" in SENTENCES
    assert (FAILURES_IN_A_ROW, LEAST_CALLS, OPEN_SHARE) == (5, 5, 0.5)
    assert "five in a row, or when half of at least five calls within a minute" in SENTENCES
    assert (OPEN_MS, LONGEST_OPEN_MS) == (60_000, 900_000)
    assert "left out for a minute, then for two, up to 15" in SENTENCES


def test_classes() -> None:
    section = TEXT.partition("## What happens when one fails")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*ErrorClass]
