"""Scripts and errors of any store, by exact inputs."""

import hashlib
from typing import Any, Final, Literal

import pytest

from stores.hot.replies import text, whole_number
from stores.hot.store import (
    CONNECTIONS,
    Script,
    StoreRefused,
    StoreUnavailable,
    checked_reply,
    short,
)
from tests.fixtures.canned_store import CannedStore

LUA: Final = "return 'ä'"
SHA: Final = hashlib.sha1(LUA.encode()).hexdigest()  # noqa: S324 - Redis names scripts so


async def test_a_known_script_is_called_by_its_hash() -> None:
    store = CannedStore(b"yes")
    assert await Script(store, "one", LUA).run(["k"], [1, b"a"], reply=text) == b"yes"
    assert store.sent == [("EVALSHA", SHA, 1, "k", 1, b"a")]
    assert store.deadlines_s == [2.0]


async def test_an_unknown_script_is_sent_in_full_once() -> None:
    forgotten = StoreRefused("redis: NOSCRIPT No matching script", "NOSCRIPT")
    store = CannedStore(forgotten, b"yes", forgotten, forgotten)
    script = Script(store, "one", LUA)
    assert await script.run(["k", "l"], ["a"], reply=text, deadline_s=30.0) == b"yes"
    words = (2, "k", "l", "a")
    assert store.sent == [("EVALSHA", SHA, *words), ("EVAL", LUA, *words)]
    assert store.deadlines_s == [30.0, 30.0]
    with pytest.raises(StoreRefused, match="NOSCRIPT"):
        await script.run([], reply=text)
    assert store.sent[2:] == [("EVALSHA", SHA, 0), ("EVAL", LUA, 0)]


@pytest.mark.parametrize("error", [StoreRefused("OOM", "OOM"), StoreUnavailable("away")])
async def test_another_error_is_not_tried_again(error: Exception) -> None:
    store = CannedStore(error)
    with pytest.raises(type(error)):
        await Script(store, "one", LUA).run([], reply=text)
    assert len(store.sent) == 1


@pytest.mark.parametrize(("kind", "server"), [("native", "redis"), ("upstash", "upstash")])
async def test_a_reply_of_another_shape_is_no_answer(
    kind: Literal["native", "upstash"], server: str
) -> None:
    store = CannedStore(b"1", kind=kind)
    with pytest.raises(StoreUnavailable) as caught:
        await Script(store, "one", LUA).run([], reply=whole_number(0, 9))
    told = "script one: the reply is a text of 1 byte, not a whole number from 0 to 9"
    assert str(caught.value) == f"{server}: {told}"
    with pytest.raises(StoreUnavailable) as caught:
        checked_reply([b"a"], ("mget", "k", "l"), kind)
    assert str(caught.value) == f"{server}: MGET: the reply is a list of 1, not a list of 2"
    assert checked_reply([b"a", None], ("MGET", "k", "l"), kind) == [b"a", None]


@pytest.mark.parametrize(
    ("code", "transient"),
    [
        *((code, True) for code in ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN")),
        *((code, True) for code in ("TRYAGAIN", "NOREPLICAS", "BUSY", "MISCONF")),
        *((code, False) for code in ("OOM", "ERR", "NOPERM", "WRONGTYPE", "", "loading")),
    ],
)
def test_which_refusals_may_pass(code: str, transient: bool) -> None:
    refused: Any = StoreRefused("redis: why", code)
    assert (str(refused), refused.code, refused.transient) == ("redis: why", code, transient)


def test_reasons_are_cut_and_connections_are_few() -> None:
    assert short("x" * 200) == "x" * 200
    assert short("x" * 5_000) == "x" * 200 + "..."
    assert CONNECTIONS == 16
