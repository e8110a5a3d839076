"""The strict parser of URLs: parts, refusals, and refusals that tell nothing of a password."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addresses.database_url import parse_database_url
from addresses.redis_url import driver_url, parse_redis_url
from addresses.url import Address, check_host, parse_url
from addresses.web import check_origin, parse_base_url, without_userinfo

SECRET = "TOPSECRET"


def test_the_parts_are_decoded_and_complete() -> None:
    address = parse_url("HTTP://a%40b:p%2Fq@[2001:db8::1]:8080/x/y?o=1%262&k=a+b", "http")
    assert address == Address(
        "http",
        "a@b",
        "p/q",
        (("2001:db8::1", 8080),),
        "/x/y",
        {"o": "1&2", "k": "a b"},
    )
    assert address.userinfo == "a%40b:p%2Fq@"
    assert address.netloc == "[2001:db8::1]:8080"
    assert "p/q" not in repr(address)


@pytest.mark.parametrize(
    ("text", "password", "host"),
    [
        ("redis://:a@b@host", "a@b", "host"),  # the last @ ends a password
        ("redis://:a:b@host", "a:b", "host"),
        ("redis://:a[b]@host", "a[b]", "host"),
        ("redis://:@host", "", "host"),
        ("redis://host", None, "host"),
    ],
)
def test_unambiguous_passwords_need_no_encoding(text: str, password: str | None, host: str) -> None:
    address = parse_url(text, "redis")
    assert (address.password, address.hosts) == (password, ((host, None),))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"redis://:{SECRET}/rest@127.0.0.1:6379/0", "'@' after its first '/'"),
        (f"redis://:first@{SECRET}/rest@127.0.0.1:6379/0", "'@' after its first '/'"),
        (f"redis://:x?{SECRET}@127.0.0.1:6379/0", "'@' after its first '/' or '?'"),
        (f"redis://:{SECRET}#rest@127.0.0.1:6379/0", "a '#'"),
        (f"redis://:{SECRET}%zz@127.0.0.1", "'%' without two hexadecimal digits"),
        (f"redis://:{SECRET}%@127.0.0.1", "'%' without two hexadecimal digits"),
        (f"redis://:{SECRET}%ff@127.0.0.1", "not UTF-8"),
        (f"redis://:{SECRET}%00@127.0.0.1", "NUL"),
        (f"redis://:{SECRET} x@127.0.0.1", "spaces"),
        (f"redis://:{SECRET}\n@127.0.0.1", "spaces, control"),
        (f"redis://:{SECRET}é@127.0.0.1", "non-ASCII"),
        (f"redis://:{SECRET}", "names no host"),
        (f"redis://h:{SECRET}", "port that is not a number"),
        (f"redis://user:x:{SECRET}", "more than one ':'"),
        (f"redis://{SECRET}!", "not a host name"),
        (f"redis://:{SECRET}@host:", "an empty port"),
        (f"redis://:{SECRET}@host:0", "from 1 to 65535"),
        (f"redis://:{SECRET}@host:65536", "from 1 to 65535"),
        (f"redis://:{SECRET}@host:+80", "from 1 to 65535"),
        (f"redis://:{SECRET}@host:80:80", "more than one ':'"),
        (f"redis://:{SECRET}@::1:80", "more than one ':'"),
        (f"redis://:{SECRET}@[::1", "brackets"),
        (f"redis://:{SECRET}@[::1]x", "brackets"),
        (f"redis://:{SECRET}@[host]:1", "brackets"),
        (f"redis://:{SECRET}@[::zz]:1", "not an IP address"),
        (f"redis://:{SECRET}@1.2.3:1", "not an IP address"),
        (f"redis://:{SECRET}@a..b", "not a host name"),
        (f"redis://:{SECRET}@-a", "not a host name"),
        (f"redis://:{SECRET}@{'a' * 64}", "not a host name"),
        (f"redis://:{SECRET}@h?{SECRET}", "not written name=value"),
        (f"redis://:{SECRET}@h?={SECRET}", "not written name=value"),
        (f"redis://:{SECRET}@h?a=1&a={SECRET}", "the option a twice"),
        (f"redis://:{SECRET}@h?a=", "the option a without a value"),
        (f"redis:{SECRET}@h", "must be a URL with redis://"),
        (f"{SECRET}://h", "must be a URL with redis://"),
        (f'"redis://:{SECRET}@h"', "must be a URL with redis://"),
    ],
)
def test_what_is_refused_is_named_without_its_value(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        parse_url(text, "redis")
    assert SECRET not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@given(st.text(alphabet=":/?#@[]%&=,. aZ1\\\"'\n", max_size=20), st.integers(0, 20))
def test_no_refusal_of_any_address_holds_a_piece_of_the_password(rest: str, at: int) -> None:
    password = rest[:at] + "KUCKUCK" + rest[at:]
    for parse in (parse_redis_url, parse_database_url, _parse_http):
        scheme = {parse_redis_url: "redis", parse_database_url: "postgres"}.get(parse, "http")
        for text in (f"{scheme}://u:{password}@host:1/0", f"{scheme}://:{password}"):
            try:
                parse(text)
            except ValueError as refused:
                # The names of options are repeated, but none can hold what stands before an @.
                if not _is_option_name(text, str(refused)):
                    assert "KUCKUCK" not in str(refused), text


def _is_option_name(text: str, refusal: str) -> bool:
    return "@" not in text.rpartition("KUCKUCK")[2] and "the unknown option" in refusal


def _parse_http(text: str) -> object:
    return parse_base_url(text, userinfo=True)


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_an_encoded_password_comes_back_whatever_it_is(user: str, password: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):  # lone surrogates are no text
        made = Address("redis", user, password, (("h", 1),), "/0", {})
        text = f"redis://{made.userinfo}h:1/0"
        if "\0" in user + password:
            with pytest.raises(ValueError, match="NUL"):
                parse_url(text, "redis")
        else:
            assert parse_url(text, "redis") == made
            assert driver_url(text) == text


@pytest.mark.parametrize(
    "host", ["localhost", "a-b.c_d.example", "example.", "10.0.0.5", "::1", "fe80::1%eth0", "xn--a"]
)
def test_hosts_that_are_accepted(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "http://a", "a:80", "256.1.1.1", "::g", ".", "bücher.example", "a-"]
)
def test_hosts_that_are_not(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        check_host(host)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("https://user:p%40w@api.example:8443/base/", "https://api.example:8443/base"),
        ("http://a@b:c@127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://api.example", "https://api.example"),
        ("https://api.example/a@b", "https://api.example/a@b"),  # not an address that is accepted
    ],
)
def test_an_address_without_its_userinfo_is_as_it_was_written(text: str, bare: str) -> None:
    assert without_userinfo(text) == bare


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://", "names no host"),
        ("http:///path", "names no host"),
        ("http://h?x=1", "a '?'"),
        ("http://h/a?", "a '?'"),
        ("http://%2Ftmp", "not a host name"),
        ("http://u:p@h", "user or password"),
    ],
)
def test_a_base_url_that_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_base_url(text, userinfo=False)
    with pytest.raises(ValueError, match="user with a ':'"):
        parse_base_url("http://a%3Ab:c@h", userinfo=True)


def test_origins_are_what_browsers_send() -> None:
    for origin in ("https://example.org", "http://127.0.0.1:3000", "http://[::1]:3000"):
        check_origin(origin)
    for origin, told in {
        "https://example.org/": "a path",
        "https://Example.org": "capital letters",
        "https://example.org:443": "the port that its scheme stands for",
        "http://example.org:80": "the port that its scheme stands for",
        "https://*.example.org": "not a host name",
        "null": "must be a URL",
    }.items():
        with pytest.raises(ValueError, match=told):
            check_origin(origin)
