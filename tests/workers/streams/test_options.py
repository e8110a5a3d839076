"""StreamOptions: what a decorator may say, and sentences for what it may not."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.streams.connection import check_stream_url
from workers.streams.options import StreamOptions


def test_messages_are_texts_or_json() -> None:
    options = StreamOptions.of({"subscribe": ["PING", {"op": "sub", "ids": [1]}], "ping": {"a": 1}})
    assert options.subscribe == ("PING", '{"op":"sub","ids":[1]}')
    assert options.ping == '{"a":1}'
    assert StreamOptions.of({"subscribe": "one"}).subscribe == ("one",)
    assert StreamOptions.of({"freshness_s": 5}).freshness_s == 5.0
    assert StreamOptions.of({}) == StreamOptions()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fresh": 1}, "fresh: a WebSocket worker has no such option; it has first_pause_s, "),
        ({"freshness_s": 0}, "freshness_s is 0: it is seconds, over 0 and at most 86400"),
        ({"freshness_s": True}, "freshness_s is True: it is seconds"),
        ({"ping_s": float("nan")}, "ping_s is nan: it is seconds"),
        ({"restarts": -1}, "restarts is -1: it is a whole number from 0 to 1000000"),
        ({"keep": 1.5}, "keep is 1.5: it is a whole number"),
        ({"subscribe": [{1}]}, "subscribe: a message is a text or what JSON can hold: "),
        ({"ping": float("inf")}, "ping: a message is a text or what JSON can hold: "),
        ({"first_pause_s": 61}, "first_pause_s 61 is longer than longest_pause_s 60"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError) as error:
        StreamOptions.of(options)
    assert str(error.value).startswith(told)


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from([field.name for field in fields(StreamOptions)]),
        st.none() | st.integers() | st.floats() | st.text(max_size=5),
        max_size=4,
    )
)
def test_any_options_are_taken_or_refused_with_a_sentence(options: dict[str, Any]) -> None:
    try:
        StreamOptions.of(options)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    "url",
    [
        "ws://a/",
        "wss://u:p@b.example:1/x?y=1&z=%20",
        "ws://[::1]:2",
        "wss://fstream.binance.com/market/ws/btcusdt@markPrice",
        "ws://localhost:9/ws/btcusdt@kline_5m",
        "wss://[::1]/ws/a@b",
    ],
)
def test_a_url_may_have_a_query(url: str) -> None:
    assert check_stream_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://a/",
        "wss://",
        "wss://a,b/",
        "wss://a/?secret x",
        "",
        "x",
        "wss://user:secret/part@b.example/",
        "wss://user:se/cret@b/",
        "wss://a/b@secret",
    ],
)
def test_a_wrong_url_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(ValueError) as error:
        check_stream_url(url)
    assert "secret" not in str(error.value)
