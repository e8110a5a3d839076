"""Paths lead to what is there, and nowhere where nothing is."""

from typing import Any

import pytest

from providers.exact import json_of
from providers.paths import path_of

DOCUMENT = json_of(
    b"""{"coins":{"coingecko:avalanche-2.x":{"price":1.5}},
    "data":[{"value":"69"},{"value":"71"}],
    "quote":[{"symbol":"BTC","price":1},{"symbol":"USD","price":60997},null,7],
    "a b.c":{"d":[[1,2],[3,4]]},"empty":{},"no":null,"ids":[{"cmc":1,"v":"one"}]}"""
)
VALUES = {"id": "coingecko:avalanche-2.x", "quote": "USD", "cmc": "1"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("coins.{id}.price", 1.5),
        ("data[0].value", "69"),
        ("data[-1].value", "71"),
        ("quote[symbol={quote}].price", 60997),
        ("ids[cmc={cmc}].v", "one"),
        ('"a b.c".d[1][0]', 3),
        ("$.data[0].value", "69"),
        ("data[*].value", "69"),
        ("data[7].value", None),
        ("no.value", None),
        ("data.value", None),
        ("coins[0]", None),
        ("quote[symbol=EUR].price", None),
        ("empty.x.y", None),
    ],
)
def test_paths(path: str, found: Any) -> None:
    assert path_of(path).find(DOCUMENT, VALUES) == found


def test_every_element_of_lists_and_objects() -> None:
    assert list(path_of("data[*].value").each(DOCUMENT)) == ["69", "71"]
    assert list(path_of("coins[*].price").each(DOCUMENT)) == [1.5]
    assert list(path_of("no[*]").each(DOCUMENT)) == []
    assert list(path_of("$").each(DOCUMENT)) == [DOCUMENT]


@pytest.mark.parametrize("text", ["a..b", "a.", "a[]", "a[x]", ".a", "a b", "a.[0]", "{A}", 'a"b"'])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        path_of(text)
