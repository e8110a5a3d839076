"""The Host header: which hosts are served, with ALLOWED_HOSTS and without, and what is told."""

import socket

import orjson
import pytest

from api.connections.hosts import Hosts, authority, quoted
from config import SettingsError, load_settings
from tests.fixtures.api import StartApi

AT = "192.0.2.10"
# Names that a web page cannot have, or the machine's own.
SERVED = (
    *("localhost", "localhost:8000", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1:8000"),
    *("127.1.2.3", "[::1]", "[::1]:8000", AT, f"{AT}:80", "203.0.113.9:8000", "[2001:db8::1]:1"),
    *("api", "api:8000", "my_service", "box.local", "perpcache.ns.svc.cluster.local"),
    *("host.docker.internal", "nas.home.arpa:8000", "box.example.com", socket.gethostname()),
)
REFUSED = (
    *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"),
    *("evil.example.", "evil.local.example", "xlocalhost.example", "box.example.com.evil"),
    *("[::1", "[::1]x", "[::1]:x", "[evil.example]", "::1", "a..b", ".", "", "a b", "a@localhost"),
    *("localhost/x", "localhost:8000:9", "evil.example:abc", "\xff", "a" * 400),
)


@pytest.mark.parametrize("host", SERVED)
def test_served_without_a_list(host: str) -> None:
    hosts = Hosts((), "Box.example.com")
    for _ in range(2):  # looked up, then remembered
        assert hosts.refuses(host.encode("latin-1"), AT) is None


@pytest.mark.parametrize("host", REFUSED)
def test_refused_without_a_list(host: str) -> None:
    told = Hosts((), "box.example.com").refuses(host.encode("latin-1"), AT)
    assert told is not None
    assert "ALLOWED_HOSTS" in told
    assert len(told) < 250
    assert told.isascii()


def test_a_list_is_all_that_is_served_beside_loopback_and_the_address_asked() -> None:
    listed = ("perp.example.org", ".example.com", "*.example.net", "192.0.2.77", "[2001:db8::5]")
    hosts = Hosts(listed, "own.example")
    names = ("perp.example.org", "PERP.example.org.:443", "example.com", "a.b.example.com")
    served = (*names, "a.example.net", "192.0.2.77:80", "[2001:db8:0::5]:80")
    for host in (*served, "localhost:8000", "127.0.0.1", "[::1]", AT):
        assert hosts.refuses(host.encode(), AT) is None, host
    refused = ("example.org", "xperp.example.org", "xexample.com", "example.net", "api")
    for host in (*refused, "own.example", "box.local", "192.0.2.78", socket.gethostname()):
        assert hosts.refuses(host.encode(), AT) is not None, host
    # What was asked at one of our addresses is not allowed at another.
    assert hosts.refuses(AT.encode(), "192.0.2.11") is not None
    assert hosts.refuses(AT.encode(), None) is not None
    assert Hosts(("*",)).refuses(b"evil.example", AT) is None


def test_what_is_shown_of_a_host() -> None:
    assert quoted(b"evil.example") == "'evil.example'"
    assert quoted(b"<b>\x1b[31m\"'\xff") == "'?b??[31m???'"
    assert quoted(b"a" * 1000) == f"'{'a' * 100}...'"


def test_the_host_of_a_target() -> None:
    assert authority(b"http://evil.example:80/x?y=http://a/") == b"evil.example:80"
    assert authority(b"HTTPS://a?b") == b"a"
    assert authority(b"/x?y=http://a/") is None
    assert authority(b"*") is None


async def test_over_connections(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url)

    async def ask(target: str, *hosts: str, version: str = "1.1") -> tuple[int, str]:
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        request = f"GET {target} HTTP/{version}\r\n{lines}Connection: close\r\n\r\n"
        status, _, body = await api.raw(request.encode())
        return status, str(orjson.loads(body).get("detail", ""))

    for path in ("/health", "/cache", "/cache/4h", "/nope"):
        status, told = await ask(path, "evil.example")
        assert status == 421
        assert "'evil.example'" in told
        assert "ALLOWED_HOSTS" in told
    assert (await ask("/health", "127.0.0.1"))[0] == 200
    assert (await ask("/health", version="1.0"))[0] == 200
    assert (await ask("/health", "localhost", "localhost"))[0] == 400
    assert (await ask("http://localhost/health", "localhost"))[0] == 200
    assert (await ask("http://evil.example/health", "localhost"))[0] == 421
    other = await start_api(redis_url=redis_url, allowed_hosts="perp.example.org")
    named = b"GET /health HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
    assert (await other.raw(named % b"perp.example.org"))[0] == 200
    assert (await other.raw(named % b"x"))[0] == 421


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        (" Example.org, *.example.net ", ("example.org", "*.example.net")),
        (".a.org,192.0.2.1,[::1],::1", (".a.org", "192.0.2.1", "[::1]", "::1")),
        ("*", ("*",)),
        ("", ()),
    ],
)
def test_the_setting(monkeypatch: pytest.MonkeyPatch, value: str, hosts: tuple[str, ...]) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", value)
    assert load_settings().allowed_hosts == hosts


@pytest.mark.parametrize("value", ["http://a", "a:80", "[::1]:80", "a/b", "a b", "*.*.a", "**"])
def test_settings_that_are_no_hosts(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", value)
    with pytest.raises(SettingsError, match="ALLOWED_HOSTS: must be"):
        load_settings()
