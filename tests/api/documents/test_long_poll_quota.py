"""Client addresses behind proxies, and the limit of long polls for each."""

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import orjson
import pytest

from addresses.lists import Network
from api.client_address import client_of
from api.documents.long_poll_quota import LongPolls, TooManyLongPolls
from config import Settings
from tests.fixtures.api import StartApi
from tests.fixtures.documents import AS_OF_MS, document

PROXIES: Sequence[Network] = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"client": peer and (peer, 1), "headers": [(b"host", b"x"), *headers]}


# What the list means: each proxy appends who asked it; only what our own proxies say is believed.
SEEN = [
    (scope("192.0.2.1"), "192.0.2.1"),
    (scope("192.0.2.1", "198.51.100.7"), "192.0.2.1"),
    (scope("127.0.0.1"), "127.0.0.1"),
    (scope("127.0.0.1", "198.51.100.7"), "198.51.100.7"),
    (scope("127.0.0.1", "8.8.8.8, 198.51.100.7"), "198.51.100.7"),
    (scope("127.0.0.1", "8.8.8.8, 198.51.100.7, 10.1.2.3"), "198.51.100.7"),
    (scope("127.0.0.1", "8.8.8.8", "198.51.100.7"), "198.51.100.7"),
    (scope("127.0.0.1", "198.51.100.7:4711"), "198.51.100.7"),
    (scope("127.0.0.1", "nonsense, 10.1.2.3"), "10.1.2.3"),
    (scope("127.0.0.1", "nonsense"), "127.0.0.1"),
    (scope("127.0.0.1", ""), "127.0.0.1"),
    (scope("10.1.2.3", "10.9.9.9"), "10.9.9.9"),
    (scope(None, "198.51.100.7"), "198.51.100.7"),
    (scope(None), "local"),
    (scope("::ffff:127.0.0.1", "198.51.100.7"), "198.51.100.7"),
    (scope("2001:db8:1:2:3::4"), "2001:db8:1:2::/64"),
    (scope("127.0.0.1", "[2001:db8:1:2::9]:443"), "2001:db8:1:2::/64"),
]


@pytest.mark.parametrize(("asked", "client"), SEEN)
def test_who_a_client_is(asked: dict[str, Any], client: str) -> None:
    assert client_of(asked, PROXIES) == client


def test_each_client_has_its_own_share() -> None:
    long_polls = LongPolls(2, PROXIES)
    with (
        long_polls.counted(scope("192.0.2.1")),
        long_polls.counted(scope("192.0.2.1", "198.51.100.7")),
    ):
        with (
            pytest.raises(TooManyLongPolls, match="limit 2"),
            long_polls.counted(scope("192.0.2.1")),
        ):
            pass
        with long_polls.counted(scope("192.0.2.2")):
            pass
    with long_polls.counted(scope("192.0.2.1")):
        pass


def test_settings_of_proxies_and_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(**given: str) -> Settings:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return Settings()  # type: ignore[call-arg]

    default = read()
    assert (default.cors_origins, default.max_waits_per_client) == ((), 100)
    assert client_of(scope("127.0.0.1", "192.0.2.1"), default.trusted_proxies) == "192.0.2.1"
    assert client_of(scope("::1", "192.0.2.1"), default.trusted_proxies) == "192.0.2.1"
    assert client_of(scope("172.17.0.1", "192.0.2.1"), default.trusted_proxies) == "172.17.0.1"
    assert read(TRUSTED_PROXIES="none").trusted_proxies == ()
    assert read(TRUSTED_PROXIES=" 192.0.2.1, 10.0.0.0/8").trusted_proxies == (
        ip_network("192.0.2.1/32"),
        ip_network("10.0.0.0/8"),
    )
    given = read(CORS_ORIGINS="https://a.example, http://localhost:3000")
    assert given.cors_origins == ("https://a.example", "http://localhost:3000")
    for name, values in (
        ("TRUSTED_PROXIES", ("proxy.example", "10.0.0.1/8", "*")),
        ("CORS_ORIGINS", ("a.example", "https://a.example/", "https://a.example/x", "ftp://a")),
    ):
        for value in values:
            with monkeypatch.context() as patch, pytest.raises(ValueError, match="must be"):
                patch.setenv(name, value)
                Settings()  # type: ignore[call-arg]


async def test_one_client_does_not_take_every_place(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, max_waits_per_client=3)
    path = "/cache/4h?wait=30"

    async def ask(**headers: str) -> tuple[int, Mapping[str, str], Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with api.http.get(path, headers=named) as answer:
            return answer.status, answer.headers.copy(), orjson.loads(await answer.read())

    waiting = [asyncio.create_task(ask()) for _ in range(3)]
    await api.held.until(3)
    status, headers, answer = await ask()
    assert (status, headers["retry-after"]) == (429, "5")
    assert "limit 3" in answer["detail"]
    # Who asks through the proxy in front of us is somebody else, and counted as such.
    others = [asyncio.create_task(ask(X_Forwarded_For="192.0.2.1")) for _ in range(3)]
    await api.held.until(6)
    assert (await ask(X_Forwarded_For="203.0.113.9, 192.0.2.1"))[0] == 429
    # What needs no waiting is answered.
    async with api.http.get("/cache/4h") as plain:
        assert plain.status == 404
    # A client that goes gives its place back.
    waiting.pop().cancel()
    await api.held.until(5)
    waiting.append(asyncio.create_task(ask()))
    await api.held.until(6)
    await api.publish("4h", document(), AS_OF_MS)
    assert {(await task)[0] for task in (*waiting, *others)} == {200}
    await api.held.until(0)
