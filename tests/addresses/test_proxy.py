"""Proxies' URLs, and the hosts that NO_PROXY spares."""

from importlib import util

import pytest

from addresses import proxy as proxies
from addresses.proxy import is_spared, parse_proxy, parse_usual_proxy
from config import SettingsError, load_settings
from market.markets import Exchange


def test_the_parts_of_a_proxy() -> None:
    found = parse_proxy("HTTP://ops:p%40ss@proxy.example:3128/")
    assert (found.scheme, found.host, found.port) == ("http", "proxy.example", 3128)
    assert (found.username, found.password) == ("ops", "p@ss")
    assert (found.place, found.url) == ("proxy.example:3128", "http://proxy.example:3128")
    assert "p@ss" not in repr(found)
    assert parse_proxy("https://[2001:db8::1]").url == "https://[2001:db8::1]:443"
    assert parse_proxy("http://p").port == 80
    assert parse_usual_proxy("ops:x@p:3128").username == "ops"


@pytest.mark.parametrize(
    "url",
    ["", "proxy.example:3128", "socks4://p", "ftp://p", "http://", "http://:3128", "http://p:0",
     "http://p:70000", "http://p:x", "http://a b", "http://u:topsecret/x@p:1", "http://p/path",
     "http://p?x=topsecret", "http://p#topsecret", "http://topsecret%zz@p", "http://%2Ftmp%2Fs",
     "http://u%3Av:topsecret@p", "socks5://u:topsecret%C3%BC@p",
     f"socks5://u:topsecret{256 * 'x'}@p"],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_proxy(url)
    assert "topsecret" not in str(error.value)
    if url:
        with pytest.raises(SettingsError) as refused:
            load_settings(bybit_proxy=url)
        (line,) = refused.value.lines
        assert line.startswith("BYBIT_PROXY: ") and "topsecret" not in line


def test_socks_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda name: None)
    with pytest.raises(SettingsError) as refused:
        load_settings(binance_proxy="socks5://p")
    (line,) = refused.value.lines
    assert line.startswith("BINANCE_PROXY: ")
    assert "needs the package aiohttp-socks: .venv/bin/pip install -r requirements-socks" in line
    parse_proxy("http://p")
    monkeypatch.setattr(proxies, "find_spec", util.find_spec)
    if util.find_spec("aiohttp_socks"):
        assert parse_proxy("socks5h://p").port == 1080


@pytest.mark.parametrize("small", [False, True])
def test_the_usual_variables_in_both_spellings(
    monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    for name, value in (
        ("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "b:2"), ("NO_PROXY", "spared.example"),
    ):  # fmt: skip
        monkeypatch.setenv(name.lower() if small else name, value)
    settings = load_settings()

    def place(url: str) -> str | None:
        found = settings.proxy(Exchange.BINANCE, url)
        return None if found is None else found.place

    assert place("http://x.example") == "a:1"
    assert place("https://x.example/api") == "b:2"
    assert place("https://spared.example") is None
    assert place("https://127.0.0.1:9000") is None


def test_secrets_of_proxies_are_known_to_the_log() -> None:
    settings = load_settings(
        binance_proxy="http://ops:one%21@p:1", https_proxy="ops:two@p:2", http_proxy="http://p:3"
    )
    assert {"one!", "one%21", "two"} <= set(settings.secrets())


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "spared"),
    [
        ("", "api.example.com", 443, False),
        ("*", "api.example.com", 443, True),
        ("example.com", "example.com", 443, True),
        ("example.com", "api.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("example.com", "example.com.evil.test", 443, False),
        (".example.com", "api.example.com", 443, True),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "api.example.com", 443, True),
        ("EXAMPLE.com.", "Api.Example.COM.", 443, True),
        ("a.test, example.com", "api.example.com", 443, True),
        ("a.test example.com", "api.example.com", 443, True),
        ("example.com:443", "api.example.com", 443, True),
        ("example.com:8443", "api.example.com", 443, False),
        ("example.com:x", "api.example.com", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.0.0.0/8", "ten.example", 80, False),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("10.1.2.3:81", "10.1.2.3", 80, False),
        ("2001:db8::/32", "2001:db8::1", 80, True),
        ("2001:0db8::1", "2001:db8::1", 80, True),
        ("[2001:db8::1]:80", "2001:db8::1", 80, True),
        ("[2001:db8::1]:81", "2001:db8::1", 80, False),
        ("999.0.0.0/8", "10.1.2.3", 80, False),
        (",,", "api.example.com", 443, False),
        (".", "api.example.com", 443, False),
        ("", "localhost", 80, True),
        ("", "sim.localhost", 80, True),
        ("", "127.3.2.1", 80, True),
        ("", "::1", 80, True),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, spared: bool) -> None:
    assert is_spared(host, port, no_proxy) is spared
