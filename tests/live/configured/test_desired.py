"""What is wanted of a collector: by the files that name it, and by what was asked for."""

import json
from typing import Any

import msgspec
import pytest

from live.configured.definition import CollectorDefinition, to_ascii_json
from live.configured.desired import (
    KnownFile,
    desired_of,
    read_desired,
    with_symbol,
    without_symbol,
)
from stores.cold.collectors import CollectorWish
from stores.cold.pool import DatabaseUnavailable

SYMBOLS = {"BTC-USDT": "BTCUSDT", "ETH-USDT": "ETHUSDT"}


def definition(name: str = "a", **changed: Any) -> CollectorDefinition:
    given = {"exchange": "binance", "symbols": SYMBOLS, "data_types": ("trade",)}
    return CollectorDefinition(name=name, **{**given, "outputs": ("redis",), **changed})


def file(path: str, modified_ms: int, *definitions: CollectorDefinition) -> KnownFile:
    return KnownFile(path, modified_ms, definitions)


def stored(*files: KnownFile, **wishes: Any) -> bytes:
    """As the cold store tells it."""
    wish: dict[str, Any] = {
        "enabled": None,
        "running": True,
        "added": {},
        "removed": [],
        "restarts": 0,
    }
    named = [{"name": name, **wish, "changed_ms": 5, **given} for name, given in wishes.items()]
    return msgspec.json.encode({"files": files, "wishes": named})


def test_a_collector_is_as_the_file_says_until_something_else_is_asked_for() -> None:
    files = file("/f", 7, definition("a"), definition("b", enabled=False), definition("c"))
    found = read_desired(stored(files, c={"enabled": False}, gone={}))
    assert list(found) == ["a", "b", "c"]  # what no file names is not there
    assert [each.enabled for each in found.values()] == [True, False, False]
    assert (found["a"].wish.changed_ms, found["c"].wish.changed_ms) == (None, 5)
    assert {each.defined_ms for each in found.values()} == {7}


@pytest.mark.parametrize(
    ("in_file", "enabled", "running", "runs"),
    [
        (True, None, True, True),
        (True, None, False, False),
        (True, False, True, False),
        (False, None, True, False),
        (False, True, True, True),
        (False, True, False, False),
    ],
)
def test_it_runs_if_it_is_enabled_and_was_not_stopped(
    in_file: bool, enabled: bool | None, running: bool, runs: bool
) -> None:
    files = file("/f", 1, definition(enabled=in_file))
    found = read_desired(stored(files, a={"enabled": enabled, "running": running}))
    assert found["a"].runs is runs


def test_the_file_that_was_changed_last_says_what_a_collector_is() -> None:
    old, new = definition(data_types=("trade",)), definition(data_types=("ticker",))
    other = definition("b")
    for files in (
        (file("/f", 1, old, other), file("/g", 2, new)),
        (file("/g", 1, old), file("/f", 2, new, other)),
    ):
        found = read_desired(stored(*files))
        assert found["a"].definition.data_types == ("ticker",)
        assert found["b"].definition == other


def test_a_process_takes_its_own_file_if_it_is_newer_than_the_known_copy() -> None:
    known = stored(file("/f", 5, definition("a"), definition("b")))
    newer = file("/f", 6, definition("b"), definition("c"))
    older = file("/f", 4, definition("c"))
    assert list(read_desired(known, newer)) == ["b", "c"]
    assert list(read_desired(known, older)) == ["a", "b"]
    assert list(read_desired(known, file("/g", 1, definition("d")))) == ["a", "b", "d"]
    assert list(read_desired(None, newer)) == ["b", "c"]


def test_symbols_are_added_and_removed_beside_the_file() -> None:
    files = file("/f", 1, definition())
    added = {"SOL-USDT": "SOLUSDT", "BTC/USDT": "BTCUSDT"}
    found = read_desired(stored(files, a={"added": added, "removed": ["ETHUSDT"]}))["a"]
    # BTC/USDT is a market that the file has by now.
    assert found.symbols == {"BTC-USDT": "BTCUSDT", "SOL-USDT": "SOLUSDT"}


def test_a_symbol_is_the_same_in_every_writing() -> None:
    one, none = definition(), CollectorWish()
    assert with_symbol(one, none, "BTC/USDT", "BTCUSDT") == none
    more = with_symbol(one, none, "SOL-USDT", "SOLUSDT")
    assert more.added == {"SOL-USDT": "SOLUSDT"}
    assert with_symbol(one, more, "SOL/USDT:USDT", "SOLUSDT") == more
    assert without_symbol(one, more, "SOLUSDT") == none
    less = without_symbol(one, none, "BTCUSDT")
    assert less.removed == ("BTCUSDT",)
    assert without_symbol(one, less, "BTCUSDT") == less
    assert without_symbol(one, none, "XRPUSDT") == none
    # Asked for again, it is there as the file writes it.
    assert with_symbol(one, less, "BTCUSDT", "BTCUSDT") == none


def test_names_of_markets_are_kept_in_ascii() -> None:
    one = definition(symbols={"龙-USDT": "龙USDT", "🚀USDT": "🚀USDT", 'a"\\': "b"})
    text = to_ascii_json([one])
    assert text.isascii()
    assert json.loads(text)[0]["symbols"] == one.symbols
    assert msgspec.json.decode(text, type=list[CollectorDefinition]) == [one]


def test_what_no_release_of_ours_has_written() -> None:
    with pytest.raises(DatabaseUnavailable, match="unreadable collectors"):
        desired_of('{"files": [{"path": 1}], "wishes": []}')
