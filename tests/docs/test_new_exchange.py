"""CONTRIBUTING's row about a new exchange holds for every exchange that there is."""

import re
from pathlib import Path
from typing import Final

import pytest

from market.markets import LIVE_ADDRESSES, STREAMED, Exchange
from simulator.exchanges import BY_NAME
from tests.fixtures.exchange_answers import ANSWERS

ROOT: Final = Path(__file__).resolve().parents[2]


def _row() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| an exchange \|(.*)$", text, re.MULTILINE)
    return str(row)


@pytest.mark.parametrize("exchange", list(Exchange))
def test_it_has_all_files_that_a_new_one_needs(exchange: Exchange) -> None:
    named = [path for path in re.findall(r"`([^`]+)`", _row()) if "/" in path]
    assert len([path for path in named if "<name>" in path]) >= 5
    for path in named:
        assert (ROOT / path.replace("<name>", exchange)).exists(), path


@pytest.mark.parametrize("exchange", list(Exchange))
def test_it_has_its_lines_and_settings(exchange: Exchange) -> None:
    assert exchange in LIVE_ADDRESSES and exchange in STREAMED and exchange in ANSWERS
    assert exchange in BY_NAME
    settings = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    example = (ROOT / "deploy" / "example.env").read_text(encoding="utf-8")
    names = re.findall(r"`<NAME>(_\w+)`", _row())
    assert set(names) == {"_BASE_URL", "_WS_URL", "_PROXY"}
    for name in names:
        setting = f"{exchange.upper()}{name}"
        assert f"`{setting}`" in settings
        assert f"{setting}=" in example
