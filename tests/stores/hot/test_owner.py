"""Whose data the keys hold: the first that comes records it, and others are told."""

import asyncio

import pytest

from stores.hot.owner import OWNER_KEY, Claim, Installation, Mode, OtherOwner, claim
from stores.hot.store import HotStore, StoreRefused
from tests.fixtures.upstash import OpenStore

LIVE = {"binance": "https://fapi.binance.com", "bybit": "https://api.bybit.com"}
TRIAL = {"binance": "http://127.0.0.1:9000", "bybit": "http://127.0.0.1:9000"}


MODES: tuple[Mode, ...] = ("start", "keep", "read")
USUAL = {
    "QUOTE": "USDT",
    "EXCHANGES": "binance,bybit",
    "MARKETS_LIMIT": "0",
    "HISTORY_CANDLES": "499",
    "FUNDING_HISTORY": "400",
    "TRADE_COLUMNS": "off",
}


async def others(
    store: HotStore, addresses: dict[str, str], installation_id: str | None
) -> OtherOwner | None:
    return (await claim(store, Installation(addresses, installation_id))).other


def live(**shape: str) -> Installation:
    """An installation at the live addresses of its exchanges."""
    settings = USUAL | shape
    addresses = {name: LIVE[name] for name in settings["EXCHANGES"].split(",")}
    return Installation(addresses, None, settings)


async def record(store: HotStore) -> dict[bytes, bytes]:
    flat = await store.execute("HGETALL", OWNER_KEY)
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def test_keys_without_a_record_are_adopted_and_then_refused_to_others(
    store: HotStore,
) -> None:
    await store.execute("SET", "cache:4h", "of the release before")
    assert await others(store, LIVE, None) is None
    assert await record(store) == {
        b"binance": b"https://fapi.binance.com",
        b"bybit": b"https://api.bybit.com",
    }
    other = await others(store, TRIAL, None)
    assert other == OtherOwner("binance", "https://fapi.binance.com", "http://127.0.0.1:9000")
    assert await others(store, LIVE, None) is None  # the refused one wrote nothing
    await store.execute("DEL", OWNER_KEY)
    assert await others(store, TRIAL, None) is None


async def test_only_exchanges_that_both_have_are_compared(store: HotStore) -> None:
    assert await others(store, {"binance": LIVE["binance"]}, None) is None
    assert await others(store, {"bybit": TRIAL["bybit"]}, None) is None
    assert await record(store) == {
        b"binance": LIVE["binance"].encode(),
        b"bybit": TRIAL["bybit"].encode(),
    }
    assert await others(store, LIVE, None) == OtherOwner("bybit", TRIAL["bybit"], LIVE["bybit"])


async def test_an_installation_id_is_asked_of_all_who_come_after(store: HotStore) -> None:
    assert await others(store, LIVE, None) is None
    assert await others(store, LIVE, "live-1") is None  # the same addresses: it is added
    assert await others(store, LIVE, "live-1") is None
    assert await others(store, LIVE, "live-2") == OtherOwner(None, "live-1", "live-2")
    assert await others(store, LIVE, None) == OtherOwner(None, "live-1", None)
    # The same installation with other addresses would mix their data.
    assert await others(store, TRIAL, "live-1") == OtherOwner(
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
    assert await others(store, {"binance": written}, None) is None
    assert await record(store) == {b"binance": stored}
    assert await others(store, {"binance": stored.decode()}, None) is None


async def test_of_two_that_start_at_once_one_is_refused(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(8)]
    claims = (others(s, (LIVE, TRIAL)[n % 2], None) for n, s in enumerate(stores))
    answers = await asyncio.gather(*claims)
    refused = {n % 2 for n, answer in enumerate(answers) if answer is not None}
    adopted = {n % 2 for n, answer in enumerate(answers) if answer is None}
    assert len(refused) == len(adopted) == 1 and refused != adopted


@pytest.mark.parametrize("kind", [("SET", "x"), ("RPUSH", "x"), ("SADD", "x")])
async def test_a_record_of_another_type_is_replaced(store: HotStore, kind: tuple[str, str]) -> None:
    await store.execute(kind[0], OWNER_KEY, kind[1])
    assert await others(store, LIVE, None) is None
    assert await others(store, TRIAL, None) is not None


async def test_what_others_wrote_is_shown_without_its_escapes(store: HotStore) -> None:
    await store.execute("HSET", OWNER_KEY, "binance", "\x1b[31m\n" + "x" * 500)
    other = await others(store, LIVE, None)
    assert other is not None and other.theirs.startswith("[31m x") and len(other.theirs) < 100


async def test_what_others_wrote_is_shown_without_its_password(store: HotStore) -> None:
    await store.execute("HSET", OWNER_KEY, "binance", "https://user:geheim@other.example")
    other = await others(store, LIVE, None)
    assert other is not None and other.theirs == "other.example"


async def test_an_empty_field_of_a_record_is_none(store: HotStore) -> None:
    await store.execute("HSET", OWNER_KEY, "INSTALLATION_ID", "", "binance", "")
    assert await others(store, LIVE, None) is None


async def test_a_store_that_takes_no_writes_refuses_a_first_claim_alone(
    store: HotStore, redis_url: str
) -> None:
    await others(store, LIVE, None)
    await store.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        assert await others(store, LIVE, None) is None
        assert await others(store, TRIAL, None) is not None
        await store.execute("DEL", OWNER_KEY)
        with pytest.raises(StoreRefused, match="owner record") as caught:
            await others(store, LIVE, None)
        assert caught.value.code == "OOM" and not caught.value.transient
    finally:
        await store.execute("CONFIG", "SET", "maxmemory", "0")


# --- what the documents hold ---------------------------------------------------------------------


async def test_what_the_documents_hold_is_recorded_and_another_quote_is_refused(
    store: HotStore,
) -> None:
    assert await claim(store, live(), mode="start") == Claim()
    fields = {name.encode(): value.encode() for name, value in (LIVE | USUAL).items()}
    assert await record(store) == fields
    for mode in MODES:
        refused = await claim(store, live(QUOTE="USDC"), mode=mode)
        assert refused == Claim(OtherOwner("QUOTE", "USDT", "USDC"))
    assert await record(store) == fields
    assert await claim(store, live(), mode="start") == Claim()


@pytest.mark.parametrize("mode", MODES)
async def test_installations_without_an_exchange_in_common_are_apart(
    store: HotStore, mode: Mode
) -> None:
    await claim(store, live(EXCHANGES="binance"), mode="start")
    refused = await claim(store, live(EXCHANGES="bybit"), mode=mode)
    assert refused == Claim(OtherOwner("EXCHANGES", "binance", "bybit"))
    # One that collects both does not serve what others would not expect of it.
    both = await claim(store, live(), mode="start")
    assert both == Claim(differing={"EXCHANGES": "binance"})
    assert (await claim(store, live(EXCHANGES="bybit"), mode="start")).other is None
    # Now those of the last that started count.
    refused = await claim(store, live(EXCHANGES="binance"), mode=mode)
    assert refused == Claim(OtherOwner("EXCHANGES", "bybit", "binance"))


@pytest.mark.parametrize(
    "name", ["MARKETS_LIMIT", "HISTORY_CANDLES", "FUNDING_HISTORY", "TRADE_COLUMNS"]
)
async def test_documents_of_another_size_are_told_once_at_the_start(
    store: HotStore, name: str
) -> None:
    await claim(store, live(), mode="start")
    changed, told = live(**{name: "7"}), Claim(differing={name: USUAL[name]})
    assert await claim(store, changed, mode="keep") == told  # and changes nothing
    assert await claim(store, changed, mode="start") == told
    assert await claim(store, changed, mode="start") == Claim()
    # The one that still runs leaves it.
    assert await claim(store, live(), mode="keep") == Claim(differing={name: "7"})
    assert (await record(store))[name.encode()] == b"7"


async def test_a_record_of_the_release_before_is_completed(store: HotStore) -> None:
    await store.execute("HSET", OWNER_KEY, "binance", LIVE["binance"])
    refused = await claim(store, live(EXCHANGES="bybit"), mode="start")
    assert refused == Claim(OtherOwner("EXCHANGES", "binance", "bybit"))
    assert await claim(store, live(QUOTE="USDC", HISTORY_CANDLES="7"), mode="keep") == Claim()
    found = await record(store)
    assert (found[b"QUOTE"], found[b"HISTORY_CANDLES"]) == (b"USDC", b"7")
    # It goes on beside: what it does not know stays, and it adds what it knows.
    assert await others(store, LIVE, None) is None
    assert await record(store) == found


async def test_a_process_that_writes_no_documents_is_checked_and_records_no_settings(
    store: HotStore,
) -> None:
    reader = Installation(LIVE, None, {"QUOTE": "USDC", "EXCHANGES": "binance,bybit"})
    assert await claim(store, reader, mode="read") == Claim()
    assert (await record(store)).keys() == {b"binance", b"bybit"}
    assert await claim(store, live(), mode="start") == Claim()
    refused = await claim(store, reader, mode="read")
    assert refused == Claim(OtherOwner("QUOTE", "USDT", "USDC"))


async def test_in_a_store_of_our_own_other_settings_are_new_ones(store: HotStore) -> None:
    await claim(store, live(EXCHANGES="binance"), mode="start", own=True)
    changed = live(QUOTE="USDC", EXCHANGES="bybit")
    told = Claim(differing={"QUOTE": "USDT", "EXCHANGES": "binance"})
    assert await claim(store, changed, mode="keep", own=True) == told
    assert await claim(store, changed, mode="start", own=True) == told
    assert await claim(store, changed, mode="start", own=True) == Claim()
    # The addresses of its exchanges are another matter.
    moved = Installation(TRIAL | {"binance": LIVE["binance"]}, None, changed.shape)
    assert (await claim(store, moved, mode="start", own=True)).other == OtherOwner(
        *("bybit", LIVE["bybit"], TRIAL["bybit"])
    )


async def test_settings_that_others_wrote_are_shown_without_escapes(store: HotStore) -> None:
    odd = "\x1b[31m" + "x" * 500
    await store.execute("HSET", OWNER_KEY, "MARKETS_LIMIT", odd, "EXCHANGES", ",,")
    found = await claim(store, live(), mode="start")
    assert found.differing == {"MARKETS_LIMIT": "[31m" + "x" * 95, "EXCHANGES": ",,"}
