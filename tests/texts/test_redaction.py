"""Secrets are hidden in every form in which a library may repeat them."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from texts.redaction import Redactor

SECRET = 'Pä55/w"o+rd'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        SECRET.lower(),
        SECRET.upper(),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        repr(SECRET)[1:-1],
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
    ],
)
def test_each_form_is_hidden(form: str) -> None:
    told = Redactor(["other-secret", SECRET]).clean(f"before {form} after")
    assert told.startswith("before ") and told.endswith(" after")
    assert "***" in told
    assert "55" not in told and "rd" not in told


def test_what_is_too_short_is_not_hidden_everywhere() -> None:
    assert Redactor(["abc", ""]).clean("abc and so on") == "abc and so on"
    assert Redactor().clean("any") == "any"


@pytest.mark.parametrize("user", ["u:", "me:", "you:"])
def test_base64_is_hidden_behind_a_name(user: str) -> None:
    coded = base64.b64encode(f"{user}{SECRET}:more".encode()).decode()
    told = Redactor([SECRET]).clean(coded)
    beside = told.partition("***")
    assert beside[1] and len(beside[0]) <= 8 and len(beside[2]) <= 12, told


@pytest.mark.parametrize("part", ["0123456789", "89ABCDEF", "abcdefgh", "xyz 01234567"])
def test_parts_are_hidden_where_that_is_asked(part: str) -> None:
    key = "0123456789abcdefghijkl"
    assert Redactor([key]).clean(f"it is {part}, or so") == f"it is {part}, or so"
    told = Redactor([key], parts=True).clean(f"it is {part}, or so")
    assert told == f"it is {'xyz ' if part.startswith('xyz') else ''}***, or so"


def test_each_run_of_parts_is_one() -> None:
    redactor = Redactor(["0123456789abcdef", "ghijklmnopqrstuv"], parts=True)
    assert redactor.clean("01234567 89abcdef01234567") == "*** ***"
    assert redactor.clean("x0123456y ghijklmn") == "x0123456y ***"
    assert redactor.clean("\u0130 89abcdef") == "\u0130 ***"
