"""Where an exchange's streams are: the settings, and what they must not be."""

import pytest

from live.stream_address import parse_stream_url, stream_address

LIVE = "wss://stream.exchange.test"


def test_the_live_address_unless_a_setting_names_another() -> None:
    assert stream_address("okx", LIVE, {}).base_url == LIVE
    assert stream_address("okx", LIVE, {"BYBIT_WS_URL": "ws://x:1"}).base_url == LIVE
    assert stream_address("okx", LIVE, {"OKX_WS_URL": " ws://h:1/okx/ "}).base_url == "ws://h:1/okx"


def test_credentials_become_a_header_and_are_hidden() -> None:
    address = parse_stream_url("wss://ops:s3cret%2F@h/p")
    assert address.base_url == "wss://h/p"
    assert address.headers == {"Authorization": "Basic b3BzOnMzY3JldC8="}
    assert "s3cret/" in address.secrets
    assert "s3cret" not in repr(address) and "b3Bz" not in repr(address)


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
    with pytest.raises(ValueError, match=r"^OKX_WS_URL: ") as caught:
        stream_address("okx", LIVE, {"OKX_WS_URL": text})
    assert why in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        ({"OKX_PROXY": "http://own:1"}, "own:1"),
        ({"OKX_PROXY": "http://own:1", "HTTPS_PROXY": "usual:2", "NO_PROXY": "*"}, "own:1"),
        ({"HTTPS_PROXY": "usual:2"}, "usual:2"),
        ({"https_proxy": "usual:2"}, "usual:2"),
        ({"HTTP_PROXY": "usual:2"}, None),  # not for wss
        ({"HTTPS_PROXY": "usual:2", "NO_PROXY": "exchange.test"}, None),
        ({"HTTPS_PROXY": "usual:2", "NO_PROXY": "exchange.test:444"}, "usual:2"),
        ({"HTTPS_PROXY": "usual:2", "OKX_WS_URL": "wss://127.0.0.1:9"}, None),
        ({"HTTP_PROXY": "usual:2", "OKX_WS_URL": "ws://relay:9"}, "usual:2"),
    ],
)
def test_the_proxy(environment: dict[str, str], place: str | None) -> None:
    proxy = stream_address("okx", LIVE, environment).proxy
    assert (proxy.place if proxy is not None else None) == place


def test_a_wrong_proxy_is_named_by_its_setting() -> None:
    with pytest.raises(ValueError, match=r"^OKX_PROXY: "):
        stream_address("okx", LIVE, {"OKX_PROXY": "ftp://h"})
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY: "):
        stream_address("okx", LIVE, {"HTTPS_PROXY": "ftp://h"})
