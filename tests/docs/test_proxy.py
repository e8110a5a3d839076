"""What docs/deploying.md says about a proxy in front of the exchanges."""

from typing import Final

from addresses.proxy import Proxy
from config import load_settings
from market.markets import Exchange
from tests.docs.blocks import ROOT, claim

SETTINGS: Final = claim("docs/deploying.md", "HTTPS_PROXY=")


def _asked_through(exchange: Exchange, base_url: str) -> Proxy | None:
    given = dict(line.split("=", 1) for line in SETTINGS.text.split())
    settings = load_settings(**{name.lower(): value for name, value in given.items()})
    return settings.proxy(exchange, base_url)


def test_each_exchange_is_asked_as_the_block_says() -> None:
    usual = _asked_through(Exchange.BINANCE, "https://fapi.binance.com")
    own = _asked_through(Exchange.BYBIT, "https://api.bybit.com")
    assert usual is not None and usual.place == "proxy.internal:3128" and not usual.is_socks
    assert own is not None and own.place == "198.51.100.7:1080" and own.is_socks
    assert _asked_through(Exchange.BINANCE, "https://gateway.internal") is None  # spared


def test_the_requirements_of_socks_are_there() -> None:
    text = (ROOT / "docs/deploying.md").read_text(encoding="utf-8")
    assert "install -r requirements-socks.txt" in text
    assert "aiohttp-socks==" in (ROOT / "requirements-socks.txt").read_text(encoding="utf-8")
