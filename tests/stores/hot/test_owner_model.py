"""The owner record's script against a naive second implementation, from records drawn at random;
and what is made of its reply."""

import random
from typing import Any, Final, get_args

import pytest
import redis

from stores.hot.owner import Claim, Installation, Mode, OtherOwner, claim
from stores.hot.store import StoreRefused, StoreUnavailable
from tests.fixtures.canned_store import CannedStore, lua_of

Fields = dict[str, str]
SIZES: Final = (
    *("EXCHANGES", "MARKETS_LIMIT", "HISTORY_CANDLES", "FUNDING_HISTORY", "TRADE_COLUMNS"),
)
SHAPE: Final = ("QUOTE", *SIZES)
VALUES: Final[dict[str, tuple[str, ...]]] = {
    "binance": ("https://a", "https://b"),
    "bybit": ("https://a", "https://b"),
    "INSTALLATION_ID": ("one", "two"),
    "QUOTE": ("USDT", "USDC"),
    "EXCHANGES": ("binance", "bybit", "binance,bybit", "okx"),
    **dict.fromkeys(SIZES[1:], ("1", "2")),
}


def claimed(stored: Fields, mode: str, own: bool, ours: Fields) -> tuple[list[str], Fields]:
    """The reply, and the record then."""
    theirs = {name: value for name, value in stored.items() if value}
    told, new = list[str](), Fields()
    for name, value in ours.items():
        known = theirs.get(name)
        if known is None:
            if not (name in SHAPE and mode == "read"):
                new[name] = value
        elif known != value:
            if not (name in SIZES or (name == "QUOTE" and own)):
                return [name, known, ""], stored
            told += [name, known]
            if mode == "start":
                new[name] = value
    addresses = ",".join(name for name in stored if name.islower())
    exchanges = theirs.get("EXCHANGES", addresses)
    shared = {name for name in exchanges.split(",") if name} & set(ours)
    if exchanges and not shared and not own and "EXCHANGES" in ours:
        return ["EXCHANGES", exchanges, ""], stored
    if "INSTALLATION_ID" in theirs and "INSTALLATION_ID" not in ours:
        return ["INSTALLATION_ID", theirs["INSTALLATION_ID"], ""], stored
    return ["", "", "", *told], stored | new


def drawn(chance: random.Random, empty: bool) -> Fields:
    names = [name for name in VALUES if chance.random() < 0.6]
    found = {name: chance.choice(VALUES[name]) for name in names}
    if empty and found and chance.random() < 0.2:
        found[chance.choice(names)] = ""
    return found


async def test_the_script(redis_url: str) -> None:
    lua = await lua_of("claim", lambda store: claim(store, OURS))
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        script = client.register_script(lua)
        for case in range(1_500):
            chance = random.Random(case)  # noqa: S311 - the same every time
            stored, ours = drawn(chance, empty=True), drawn(chance, empty=False)
            if chance.random() < 0.5:  # mostly alike
                ours = {name: value for name, value in stored.items() if value} | dict(
                    list(ours.items())[:1]
                )
            mode, own = chance.choice(get_args(Mode)), chance.random() < 0.3
            client.delete("owner")
            if stored:
                client.hset("owner", mapping=stored)
            words = [word for pair in ours.items() for word in pair]
            reply = script(keys=["owner"], args=[mode, "1" if own else "", *words])
            wanted = claimed(stored, mode, own, ours)
            assert (reply, client.hgetall("owner")) == wanted, (case, stored, mode, own, ours)


OURS: Final = Installation({"bybit": "HTTPS://u:p@X.test:443/a/"}, "one", {"QUOTE": "USDT"})


async def test_what_is_sent() -> None:
    store = CannedStore([b"", b"", b""], [b"", b"", b""])
    assert await claim(store, OURS) == Claim()
    fields = ("bybit", "https://x.test/a", "INSTALLATION_ID", "one", "QUOTE", "USDT")
    assert store.sent[0][2:] == (1, "perpcache:owner", "keep", "", *fields)
    await claim(store, Installation({}, ""), mode="start", own=True)
    assert store.sent[1][2:] == (1, "perpcache:owner", "start", "1")
    assert store.names == ["claim", "claim"]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (
            [b"bybit", b"https://u:geheim@y\xff", b""],
            Claim(OtherOwner("bybit", "y\ufffd", "https://x.test/a")),
        ),
        ([b"INSTALLATION_ID", b"two", b""], Claim(OtherOwner(None, "two", "one"))),
        ([b"okx", b"z" * 100, b""], Claim(OtherOwner("okx", "z" * 100, None))),
        ([b"okx", b"z" * 101, b""], Claim(OtherOwner("okx", "z" * 100, None))),
        (
            [b"", b"", b"", b"QUOTE", b"A\x1b", b"MARKETS_LIMIT", b"z" * 101],
            Claim(differing={"QUOTE": "A", "MARKETS_LIMIT": "z" * 100}),
        ),
    ],
)
async def test_what_is_found(reply: list[bytes], found: Claim) -> None:
    assert await claim(CannedStore(reply), OURS) == found


@pytest.mark.parametrize("text", [b"OOM full", b"-OOM full"])
async def test_a_record_that_cannot_be_written(text: bytes) -> None:
    with pytest.raises(StoreRefused) as caught:
        await claim(CannedStore([b"", b"", text]), OURS)
    assert str(caught.value) == "the owner record cannot be written: OOM full"
    assert caught.value.code == "OOM"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ([], "the reply is a list of 0, not three texts, then pairs of them"),
        ([b"", b""], "the reply is a list of 2, not three texts, then pairs of them"),
        ([b""], "the reply is a list of 1, not three texts, then pairs of them"),
        ([b""] * 4, "the reply is a list of 4, not three texts, then pairs of them"),
        ([b"", b"", None], "element 3 of the reply is null, not a text"),
    ],
)
async def test_a_misshapen_reply(reply: Any, told: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await claim(CannedStore(reply), OURS)
    assert str(caught.value) == f"redis: script claim: {told}"
