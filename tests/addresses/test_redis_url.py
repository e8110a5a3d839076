"""REDIS_URL and its parts: databases, options, and what redis-py makes of it."""

import re

import pytest
from redis.asyncio.connection import parse_url

from addresses.redis_parts import RedisParts
from addresses.redis_url import database_of, driver_url, parse_redis_url
from stores.hot.redis_client import NativeStore


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("redis://localhost", 0),
        ("redis://localhost/", 0),
        ("redis://localhost/7", 7),
        ("redis://localhost?db=7", 7),
        ("redis://localhost/7?db=7", 7),
        ("unix:///run/valkey.sock?db=3", 3),
        ("unix://:pass@/run/valkey.sock", 0),
        ("rediss://default:pass@eu1-x.upstash.io:6379", 0),
        ("rediss://:p@h:6380/1?ssl_cert_reqs=none&ssl_check_hostname=false", 1),
        ("redis://h?socket_timeout=1.5&health_check_interval=30&protocol=3&client_name=x", 0),
    ],
)
def test_addresses_that_are_used(text: str, database: int) -> None:
    assert database_of(parse_redis_url(text)) == database
    assert parse_url(driver_url(text)).get("db", 0) == database
    NativeStore(text, client_name="test")


def test_what_our_clients_set_themselves_does_not_reach_the_driver() -> None:
    given = (
        "redis://h/1?socket_timeout=1&protocol=3&encoding=x&max_connections=2&socket_keepalive=1"
    )
    assert driver_url(given) == "redis://h/1?socket_keepalive=1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis:///0", "names no host"),
        ("redis://:1234/0", "names no host"),
        ("redis://%2Frun%2Fvalkey.sock", "not a host name"),
        ("redis://h/db0", "not the number of a database"),
        ("redis://h/0/1", "not the number of a database"),
        ("redis://h/-1", "not the number of a database"),
        ("redis://h/1?db=2", "names two databases"),
        ("redis://h/?db=x", "wrong value of the option db"),
        ("redis://h1,h2", "not a host name"),
        ("unix://run/valkey.sock", "absolute path"),
        ("unix://", "absolute path"),
        ("redis://h?ssl_cert_reqs=none", "ssl_cert_reqs, which needs rediss://"),
        ("unix:///s?socket_keepalive=1", "unknown option socket_keepalive"),
        ("redis://h?ssl=true", "unknown option ssl; known: db, "),
        (
            "rediss://h?ssl_cert_reqs=CERT_NONE",
            "option ssl_cert_reqs: it must be none, optional or required",
        ),
        ("rediss://h?ssl_check_hostname=off", "ssl_check_hostname: it must be true or false"),
        ("rediss://h?ssl_ca_certs=/no/such/file.pem", "ssl_ca_certs: it must name a file"),
        ("rediss://h?ssl_min_version=TLSv1.2", "ssl_min_version: it must be 769"),
        ("rediss://h?ssl_include_verify_flags=NONE", "ssl_include_verify_flags: it must be names"),
        ("redis://:a@h?password=b", "the password twice"),
        ("redis://h?socket_timeout=soon", "socket_timeout: it must be a number of seconds"),
    ],
)
def test_what_is_refused_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_redis_url(text)
    with pytest.raises(ValueError, match=re.escape(told)):
        NativeStore(text, client_name="test")


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        (RedisParts("db", None, None, None), "redis://db:6379/0"),
        (RedisParts("::1", 7, "p@/#%:", 2), "redis://:p%40%2F%23%25%3A@[::1]:7/2"),
        (RedisParts(None, None, None, None), None),
    ],
)
def test_the_parts_make_an_address(parts: RedisParts, url: str | None) -> None:
    assert parts.url() == url
    if url is not None:
        assert parse_url(url).get("password", None) == parts.password
        assert parts.differing_from(url) is None


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (RedisParts("other", None, None, None), "REDIS_HOST"),
        (RedisParts(None, 6380, None, None), "REDIS_PORT"),
        (RedisParts(None, None, "other", None), "REDIS_PASSWORD"),
        (RedisParts(None, None, None, 1), "REDIS_DB"),
        (RedisParts("H", 6379, "p", 0), None),
    ],
)
def test_the_part_that_contradicts_an_address_is_named(parts: RedisParts, name: str | None) -> None:
    assert parts.differing_from("redis://:p@h") == name


def test_parts_without_a_host_are_refused() -> None:
    with pytest.raises(
        ValueError, match="REDIS_PASSWORD and REDIS_DB without REDIS_HOST"
    ) as refused:
        RedisParts(None, None, "hunter2", 0).url()
    assert "hunter2" not in str(refused.value)
