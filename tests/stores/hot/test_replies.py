"""The shapes of replies, each at its limits, and what an error says of what came."""

from typing import Any, Final

import pytest

from stores.hot.replies import (
    Shape,
    WrongShape,
    anything,
    elements,
    list_of,
    named_texts,
    one_of,
    shape_of_command,
    text,
    text_or_null,
    whole_number,
)

PAIR: Final = elements(text, whole_number())


@pytest.mark.parametrize(
    ("shape", "reply"),
    [
        (anything, {"a": 1}),
        (text, b""),
        (text_or_null, b"x"),
        (text_or_null, None),
        (one_of(b"ok", b"no"), b"no"),
        (whole_number(), 0),
        (whole_number(), 2**63 - 1),
        (whole_number(-1, 3), -1),
        (whole_number(-1, 3), 3),
        (list_of(text), []),
        (list_of(text), [b"a", b"b"]),
        (list_of(text, 0), []),
        (list_of(text, 2), [b"a", b"b"]),
        (PAIR, [b"a", 7]),
        (list_of(PAIR), [[b"a", 7], [b"b", 8]]),
        (named_texts, []),
        (named_texts, [b"a", b"b"]),
        (named_texts, [b"a", b"b", b"c", b"d"]),
    ],
)
def test_a_reply_of_the_shape_is_given_back(shape: Shape[Any], reply: Any) -> None:
    assert shape(reply) == reply


@pytest.mark.parametrize(
    ("shape", "reply", "told"),
    [
        (text, None, "the reply is null, not a text"),
        (text, "a", "the reply is a str, not a text"),
        (text_or_null, 3, "the reply is the number 3, not a text or null"),
        (text_or_null, False, "the reply is false, not a text or null"),
        (one_of(b"ok", b"no"), b"yes", "the reply is a text of 3 bytes, not 'ok' or 'no'"),
        (one_of(b"ok"), None, "the reply is null, not 'ok'"),
        (one_of(b"ok"), [b"ok"], "the reply is a list of 1, not 'ok'"),
        (whole_number(0, 3), -1, "the reply is the number -1, not a whole number from 0 to 3"),
        (whole_number(0, 3), 4, "the reply is the number 4, not a whole number from 0 to 3"),
        (whole_number(0, 3), b"1", "the reply is a text of 1 byte, not a whole number from 0 to 3"),
        (whole_number(0, 3), True, "the reply is true, not a whole number from 0 to 3"),
        (whole_number(0, 3), 1.0, "the reply is the number 1.0, not a whole number from 0 to 3"),
        (
            *(whole_number(), 2**63),
            "the reply is the number 9223372036854775808, not a whole number from 0 to "
            "9223372036854775807",
        ),
        (list_of(text), b"", "the reply is a text of 0 bytes, not a list"),
        (list_of(text, 2), [b"a"], "the reply is a list of 1, not a list of 2"),
        (list_of(text, 2), {}, "the reply is an object, not a list of 2"),
        (list_of(text), [b"a", None], "element 2 of the reply is null, not a text"),
        (PAIR, None, "the reply is null, not a list of 2"),
        (PAIR, [b"a"], "the reply is a list of 1, not a list of 2"),
        (PAIR, [b"a", 1, 2], "the reply is a list of 3, not a list of 2"),
        (PAIR, [1, 1], "element 1 of the reply is the number 1, not a text"),
        (list_of(PAIR), [[b"a", 1], [None, 1]], "element 2.1 of the reply is null, not a text"),
        (
            *(named_texts, [b"a", b"b", b"c"]),
            "the reply is a list of 3, not a list of names, each with its text",
        ),
        (named_texts, [b"a", 1], "element 2 of the reply is the number 1, not a text"),
    ],
)
def test_another_reply_is_told(shape: Shape[Any], reply: Any, told: str) -> None:
    with pytest.raises(WrongShape) as caught:
        shape(reply)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("command", "arguments", "right", "wrong"),
    [
        ("GET", 1, [None, b""], [0, []]),
        ("get", 1, [None, b""], [0, []]),
        ("SET", 2, [None, b"OK"], [1, []]),
        ("GETRANGE", 3, [b""], [None, 1]),
        ("MGET", 2, [[None, b""]], [[b""], [b"", b"", b""], None]),
        ("HGETALL", 1, [[], [b"a", b"b"]], [[b"a"], None]),
        ("SMEMBERS", 1, [[], [b"a"]], [[None], b""]),
        ("SREM", 2, [0, 2], [None, b"1", -1]),
        ("UNLINK", 1, [0, 1], [None, b"1", -1]),
        ("INFO", 0, [b"", None, 7], []),
    ],
)
def test_the_shapes_of_commands(
    command: str, arguments: int, right: list[Any], wrong: list[Any]
) -> None:
    shape = shape_of_command(command, arguments)
    for reply in right:
        assert shape(reply) == reply
    for reply in wrong:
        with pytest.raises(WrongShape):
            shape(reply)
