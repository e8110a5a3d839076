"""Where an exchange's streams are: the settings, and what they must not be."""

from typing import Any

import pytest

from config import SettingsError, load_live_settings
from live.exchanges import STREAM_VENUES
from live.stream_address import rest_address, stream_address
from market.markets import STREAMED

LIVE = "wss://stream.exchange.test"


def test_every_exchange_has_its_settings() -> None:
    assert sorted(STREAM_VENUES) == sorted(STREAMED)
    for exchange, venue in STREAM_VENUES.items():
        settings = load_live_settings(**{f"{exchange}_ws_url": "ws://h:1"})
        assert stream_address(settings, exchange, venue.base_url).base_url == "ws://h:1"
        others = load_live_settings()
        assert stream_address(others, exchange, venue.base_url).base_url == venue.base_url
        assert stream_address(others, exchange, venue.base_url).is_encrypted
        assert rest_address(others, exchange, venue.rest_url).base_url == venue.rest_url


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKX_WS_URL", " ws://h:1/okx/ ")
    monkeypatch.setenv("OKX_BASE_URL", "http://h:2/")
    settings = load_live_settings()
    assert stream_address(settings, "okx", LIVE).base_url == "ws://h:1/okx"
    assert rest_address(settings, "okx", LIVE).base_url == "http://h:2"


def test_credentials_become_a_header_and_are_hidden() -> None:
    settings = load_live_settings(
        okx_ws_url="wss://ops:s3cret%2F@h/p", okx_base_url="https://ops:s3cret%2F@h"
    )
    for address in (
        stream_address(settings, "okx", LIVE),
        rest_address(settings, "okx", "https://x"),
    ):
        assert "@" not in address.base_url
        assert address.headers == {"Authorization": "Basic b3BzOnMzY3JldC8="}
        assert "s3cret/" in address.secrets
        assert "s3cret" not in repr(address) and "b3Bz" not in repr(address)
    assert "s3cret/" in settings.secrets()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://h", "must be a URL with ws://, wss://"),
        ("wss://", "names no host"),
        ("wss://h/p?a=b", "has a '?'"),
        ("wss://h:0", "a port that is not a number"),
        ("wss://h/#x", "has a '#'"),
        ("wss://s3cret:pa/ss@h", "has an '@' after"),
    ],
)
def test_a_wrong_address_is_named_by_its_setting_and_not_repeated(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=r"^OKX_WS_URL: ") as caught:
        load_live_settings(okx_ws_url=text)
    assert why in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, None),
        ({"okx_proxy": "http://own:1"}, "own:1"),
        ({"okx_proxy": "http://own:1", "https_proxy": "usual:2", "no_proxy": "*"}, "own:1"),
        ({"https_proxy": "usual:2"}, "usual:2"),
        ({"http_proxy": "usual:2"}, None),  # not for wss
        ({"https_proxy": "usual:2", "no_proxy": "exchange.test"}, None),
        ({"https_proxy": "usual:2", "no_proxy": "exchange.test:444"}, "usual:2"),
        ({"https_proxy": "usual:2", "okx_ws_url": "wss://127.0.0.1:9"}, None),
        ({"http_proxy": "usual:2", "okx_ws_url": "ws://relay:9"}, "usual:2"),
    ],
)
def test_the_proxy(settings: dict[str, Any], place: str | None) -> None:
    proxy = stream_address(load_live_settings(**settings), "okx", LIVE).proxy
    assert (proxy.place if proxy is not None else None) == place
