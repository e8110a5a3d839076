"""Lists cut entry by entry: where the cuts are, and what is told of an entry that is left out."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from venues.entries import EntryDecoder, Unreadable, cut_list, read_each

# Signs that must not count inside of strings.
ODD = '{"a,b":"],[{,}\\"[","c":["\\\\",[1,[2]],{}]}'


@pytest.mark.parametrize(
    ("body", "entries"),
    [
        ("[]", []),
        ("[ \n]", []),
        (" [1] ", ["1"]),
        ("[1,22,333]", ["1", "22", "333"]),
        ("[ 1 , 2 ]", [" 1 ", " 2 "]),
        ("[,]", ["", ""]),
        ("[[1,2],[3]]", ["[1,2]", "[3]"]),
        (f"[{ODD},{ODD}]", [ODD, ODD]),
        ('["\\\\",","]', ['"\\\\"', '","']),
        ('["\\\\\\"","]"]', ['"\\\\\\""', '"]"']),
    ],
)
def test_a_body_that_is_a_list(body: str, entries: list[str]) -> None:
    cut = cut_list(body.encode())
    assert cut is not None
    assert cut.length == len(entries)
    assert [text.decode() for text in cut.entries] == entries
    assert cut.envelope == b"[]"


@pytest.mark.parametrize(
    "body",
    ["", " ", "7", "null", '{"list":[1]}', "[1", "[[1]", '["]', "[1]x", "[1]]", "[1],[2]", "1]"],
)
def test_a_body_that_is_no_list(body: str) -> None:
    assert cut_list(body.encode()) is None


@pytest.mark.parametrize(
    ("body", "last", "entries", "envelope"),
    [
        ('{"list":[1,2],"x":7}', False, ["1", "2"], '{"list":[],"x":7}'),
        ('{ "list" : [] }', False, [], '{ "list" : [] }'),
        ('{"list":[1],"b":{"list":[2]}}', False, ["1"], '{"list":[],"b":{"list":[2]}}'),
        ('{"list":[1],"b":{"list":[2]}}', True, ["2"], '{"list":[1],"b":{"list":[]}}'),
        ('{"list":null,"b":{"list":[2]}}', False, ["2"], '{"list":null,"b":{"list":[]}}'),
        ('{"list":[[1]]}]', False, ["[1]"], '{"list":[]}]'),
    ],
)
def test_a_list_by_its_name(body: str, last: bool, entries: list[str], envelope: str) -> None:
    cut = cut_list(body.encode(), "list", last=last)
    assert cut is not None
    assert cut.length == len(entries)
    assert [text.decode() for text in cut.entries] == entries
    assert cut.envelope.decode() == envelope


@pytest.mark.parametrize("body", ["", "[1]", '{"lists":[1]}', '{"list":7}', '{"list":[1'])
def test_no_list_of_that_name(body: str) -> None:
    assert cut_list(body.encode(), "list") is None
    assert cut_list(body.encode(), "list", last=True) is None


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text('ab,:"[]{}\\ü', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\]'), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(json_values, max_size=5))
def test_what_is_cut_is_what_json_reads(values: list[Any]) -> None:
    cut = cut_list(json.dumps(values).encode())
    assert cut is not None
    assert [json.loads(text) for text in cut.entries] == values


# --- decoding ------------------------------------------------------------------------------------


class Entry(msgspec.Struct):
    symbol: str
    size: int = 0


class Nested(msgspec.Struct):
    inner: "Nested | None" = None
    size: int = 0


def test_an_entry_that_cannot_be_read_is_told_with_its_contract() -> None:
    long = "x" * 100
    texts = [
        b'{"symbol":"A","size":"7"}',
        b'{"symbol" : "BUSDT","size":[]}',
        '{"symbol":"龙虾"'.encode(),
        b'{"size":1}',
        b'{"x":{"symbol":"B"},"size":[],"symbol":"%bx"}' % long.encode(),
        b'{"size":[],"symbol":7}',
        b'{"symbol" :\n"%b"' % long.encode(),
        b'{"symbol":"%bx"' % long.encode(),
        b'\xff{"symbol":"\xffA"' + b"y" * 90,
    ]
    read = list(EntryDecoder(Entry)(texts))
    assert read[0] == Entry("A", 7)
    told = [(e.reason, e.time_ms, e.symbol) for e in read if isinstance(e, Unreadable)]
    no_size = "Expected `int`, got `array` - at `$.size`"
    start = '� {"symbol":"�A"'.replace(" ", "") + "y" * 60
    assert told == [
        (no_size, None, "BUSDT"),
        ('not JSON: \'{"symbol":"龙虾"\'', None, "龙虾"),
        ("Object missing required field `symbol`", None, None),
        (no_size, None, f"{long}x"),
        (no_size, None, None),
        ('not JSON: \'{"symbol" : "' + "x" * 27 + "'", None, long),
        ('not JSON: \'{"symbol":"' + "x" * 29 + "'", None, None),
        (f"not JSON: {start[:40]!r}", None, "�A"),
    ]
    assert str(read[1]) == no_size


def test_a_reason_has_at_most_100_characters() -> None:
    text = b'{"inner":' * 30 + b'{"size":[]}' + b"}" * 30
    (read,) = EntryDecoder(Nested)([text])
    assert isinstance(read, Unreadable)
    whole = "Expected `int`, got `array` - at `$" + ".inner" * 30 + ".size`"
    assert read.reason == whole[:100]


def test_of_text_that_is_no_json_60_bytes_are_shown() -> None:
    texts = ["🦞".encode() * 20, b"x" * 70]
    assert [str(entry) for entry in EntryDecoder(Entry)(texts)] == [
        f"not JSON: {'🦞' * 15!r}",
        f"not JSON: {'x' * 40!r}",
    ]


def test_rows_left_out_come_with_the_good_row_before_them() -> None:
    def read(number: int) -> tuple[int]:
        if number % 2:
            raise Unreadable(f"{number} is odd")
        return (number,)

    left_out: list[tuple[str, tuple[int] | None]] = []
    rows: list[int | Unreadable] = [1, 2, Unreadable("no row"), 4, 6, 7]
    found = read_each(rows, read, lambda error, row: left_out.append((error.reason, row)))
    assert found == [(2,), (4,), (6,)]
    assert left_out == [("1 is odd", None), ("no row", (2,)), ("7 is odd", (6,))]
