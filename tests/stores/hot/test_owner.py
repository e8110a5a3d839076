"""Whose data the keys hold: the first that comes records it, and others are told."""

import asyncio

import pytest

from stores.hot.owner import OWNER_KEY, OtherOwner, claim
from stores.hot.store import HotStore, StoreRefused
from tests.fixtures.upstash import OpenStore

LIVE = {"binance": "https://fapi.binance.com", "bybit": "https://api.bybit.com"}
TRIAL = {"binance": "http://127.0.0.1:9000", "bybit": "http://127.0.0.1:9000"}


async def record(store: HotStore) -> dict[bytes, bytes]:
    flat = await store.execute("HGETALL", OWNER_KEY)
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def test_keys_without_a_record_are_adopted_and_then_refused_to_others(
    store: HotStore,
) -> None:
    await store.execute("SET", "cache:4h", "of the release before")
    assert await claim(store, LIVE, None) is None
    assert await record(store) == {
        b"binance": b"https://fapi.binance.com",
        b"bybit": b"https://api.bybit.com",
    }
    other = await claim(store, TRIAL, None)
    assert other == OtherOwner("binance", "https://fapi.binance.com", "http://127.0.0.1:9000")
    assert await claim(store, LIVE, None) is None  # the refused one wrote nothing
    await store.execute("DEL", OWNER_KEY)
    assert await claim(store, TRIAL, None) is None


async def test_only_exchanges_that_both_have_are_compared(store: HotStore) -> None:
    assert await claim(store, {"binance": LIVE["binance"]}, None) is None
    assert await claim(store, {"bybit": TRIAL["bybit"]}, None) is None
    assert await record(store) == {
        b"binance": LIVE["binance"].encode(),
        b"bybit": TRIAL["bybit"].encode(),
    }
    assert await claim(store, LIVE, None) == OtherOwner("bybit", TRIAL["bybit"], LIVE["bybit"])


async def test_an_installation_id_is_asked_of_all_who_come_after(store: HotStore) -> None:
    assert await claim(store, LIVE, None) is None
    assert await claim(store, LIVE, "live-1") is None  # the same addresses: it is added
    assert await claim(store, LIVE, "live-1") is None
    assert await claim(store, LIVE, "live-2") == OtherOwner(None, "live-1", "live-2")
    assert await claim(store, LIVE, None) == OtherOwner(None, "live-1", None)
    # The same installation with other addresses would mix their data.
    assert await claim(store, TRIAL, "live-1") == OtherOwner(
        *("binance", LIVE["binance"], TRIAL["binance"])
    )


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("HTTPS://FAPI.Binance.com:443/", b"https://fapi.binance.com"),
        ("http://sim:80", b"http://sim"),
        ("http://sim:443/Path/", b"http://sim:443/Path"),
        ("https://user:secret@sim/x", b"https://sim/x"),
    ],
)
async def test_one_address_in_two_spellings_is_one(
    store: HotStore, written: str, stored: bytes
) -> None:
    assert await claim(store, {"binance": written}, None) is None
    assert await record(store) == {b"binance": stored}
    assert await claim(store, {"binance": stored.decode()}, None) is None


async def test_of_two_that_start_at_once_one_is_refused(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(8)]
    claims = (claim(s, (LIVE, TRIAL)[n % 2], None) for n, s in enumerate(stores))
    answers = await asyncio.gather(*claims)
    refused = {n % 2 for n, answer in enumerate(answers) if answer is not None}
    adopted = {n % 2 for n, answer in enumerate(answers) if answer is None}
    assert len(refused) == len(adopted) == 1 and refused != adopted


@pytest.mark.parametrize("kind", [("SET", "x"), ("RPUSH", "x"), ("SADD", "x")])
async def test_a_record_of_another_type_is_replaced(store: HotStore, kind: tuple[str, str]) -> None:
    await store.execute(kind[0], OWNER_KEY, kind[1])
    assert await claim(store, LIVE, None) is None
    assert await claim(store, TRIAL, None) is not None


async def test_what_others_wrote_is_shown_without_its_escapes(store: HotStore) -> None:
    await store.execute("HSET", OWNER_KEY, "binance", "\x1b[31m\n" + "x" * 500)
    other = await claim(store, LIVE, None)
    assert other is not None and other.theirs.startswith("[31m x") and len(other.theirs) < 100


async def test_what_others_wrote_is_shown_without_its_password(store: HotStore) -> None:
    await store.execute("HSET", OWNER_KEY, "binance", "https://user:geheim@other.example")
    other = await claim(store, LIVE, None)
    assert other is not None and other.theirs == "other.example"


async def test_an_empty_field_of_a_record_is_none(store: HotStore) -> None:
    await store.execute("HSET", OWNER_KEY, "INSTALLATION_ID", "", "binance", "")
    assert await claim(store, LIVE, None) is None


async def test_a_store_that_takes_no_writes_refuses_a_first_claim_alone(
    store: HotStore, redis_url: str
) -> None:
    await claim(store, LIVE, None)
    await store.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        assert await claim(store, LIVE, None) is None
        assert await claim(store, TRIAL, None) is not None
        await store.execute("DEL", OWNER_KEY)
        with pytest.raises(StoreRefused, match="owner record") as caught:
            await claim(store, LIVE, None)
        assert caught.value.code == "OOM" and not caught.value.transient
    finally:
        await store.execute("CONFIG", "SET", "maxmemory", "0")
