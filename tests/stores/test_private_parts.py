"""Private parts of libraries that our clients use: there, and looked at in this version."""

from importlib.metadata import version

import pytest

from stores.hot.redis_client import NativeStore
from stores.hot.upstash_client import UpstashStore
from tests.fixtures.upstash import UpstashEndpoint

# By distribution: the version at which to look again, where, and what for.
# No public way was found: redis closes a connection only after its bytes are taken, Upstash's
# client takes no HTTP client of ours, and aiohttp makes its connections itself.
LOOK_AGAIN = {
    "aiohttp": ((3, 15), "budgets/informational.py, bound_informational: its own connections"),
    "redis": ((8, 2), "stores/hot/redis_client.py, _discard: aborts what a stalled server keeps"),
    "upstash-redis": (
        (1, 9),
        "stores/hot/upstash_client.py, _UpstashClient: _AiohttpClient in place of httpx",
    ),
}


@pytest.mark.parametrize("name", LOOK_AGAIN)
def test_it_was_looked_at_in_this_version(name: str) -> None:
    again, where = LOOK_AGAIN[name]
    installed = tuple(map(int, version(name).split(".")[:2]))
    assert installed < again, (
        f"{name} {version(name)}: look at {where}; if it still holds, or there is a public way"
        " by now, write the next version here"
    )


async def test_a_connection_of_redis_has_its_writer(redis_url: str) -> None:
    store = NativeStore(redis_url, client_name="test")
    await store.execute("PING")
    [connection] = store._idle
    writer = connection._writer
    assert writer is not None
    await store.aclose()
    assert writer.transport.is_closing()


async def test_the_client_of_upstash_asks_over_what_was_put_in(upstash: UpstashEndpoint) -> None:
    store = UpstashStore(upstash.url, upstash.token)
    poster = store._client._client
    assert await store.execute("PING") == b"PONG"
    assert poster._session is not None  # type: ignore[attr-defined]  # it was asked
    await store.aclose()
    assert poster._session.closed  # type: ignore[attr-defined]
