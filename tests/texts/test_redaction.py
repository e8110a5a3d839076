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
