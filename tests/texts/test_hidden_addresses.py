"""Errors without addresses: cause and part remain."""

from functools import partial

import pytest

from tests.fixtures.cpu_time import least_cpu_s
from texts.hidden_addresses import without_addresses, without_ips

# What redis-py, asyncpg, aiohttp, OpenSSL and PostgreSQL say, with what must be left of it.
MESSAGES = [
    (
        "redis: Error -2 connecting to topsecret:6379. Name or service not known.",
        "redis: Error -2 connecting to (address). Name or service not known.",
    ),
    (
        "redis: Error 111 connecting to 10.1.2.3:6379. Connect call failed ('10.1.2.3', 6379).",
        "redis: Error 111 connecting to (address). Connect call failed (address).",
    ),
    (
        "redis: Error 2 connecting to unix:/run/px/valkey.sock. No such file or directory.",
        None,
    ),
    (
        "redis: Error 111 connecting to [2001:db8::7]:6379. ('2001:db8::7', 6379, 0, 0)",
        None,
    ),
    ("redis: Error connecting to cache.corp.example:6379. timed out", None),
    (
        "the database failed: [Errno 111] Connect call failed ('127.0.0.1', 5432)",
        "the database failed: [Errno 111] Connect call failed (address)",
    ),
    (
        "the database failed: Multiple exceptions: [Errno 111] Connect call failed ('::1', 5432, 0,"
        " 0), [Errno 111] Connect call failed ('127.0.0.1', 5432)",
        "the database failed: Multiple exceptions: [Errno 111] Connect call failed (address),"
        " [Errno 111] Connect call failed (address)",
    ),
    (
        'the database failed: no pg_hba.conf entry for host "10.9.8.7", user "px", no encryption',
        'the database failed: no pg_hba.conf entry for host "(address)", user "px", no encryption',
    ),
    (
        "the database failed: certificate verify failed: Hostname mismatch, certificate is not"
        " valid for 'db.internal'.",
        None,
    ),
    (
        "upstash: ClientConnectorError Cannot connect to host eu1-x.upstash.io:443 ssl:default",
        "upstash: ClientConnectorError Cannot connect to host (address) ssl:default",
    ),
    ("upstash: InvalidURL https://eu1-x.upstash.io/x", "upstash: InvalidURL (address)"),
]
SECRET = (
    "topsecret",
    "10.",
    "127.",
    "::",
    "6379",
    "5432",
    "/run",
    "corp",
    "internal",
    "upstash.io",
)
UNCHANGED = (
    "redis: OOM command not allowed when used memory > 'maxmemory'.",
    "redis: no answer within 2 s",
    "redis: READONLY You can't write against a read only replica.",
    "the database did not answer in time",
    "the database failed: [Errno -2] Name or service not known",
    'the database failed: password authentication failed for user "perpcache"',
    "cache:4h is being replaced faster than it can be read",
    "cache:15m:meta has the unknown version 12:30:00 of 2026-11-28T10:30:59Z",
    "upstash: no answer within 30 s",
    "upstash: ERR max daily request limit exceeded. Limit: 10000, Usage: 10000.",
)


@pytest.mark.parametrize(("error", "told"), MESSAGES)
def test_addresses_are_left_out(error: str, told: str | None) -> None:
    seen = without_addresses(error)
    assert told is None or seen == told
    assert seen.partition(":")[0] == error.partition(":")[0]
    assert "(address)" in seen
    assert not any(secret in seen.removeprefix("upstash: ") for secret in SECRET), seen


@pytest.mark.parametrize("error", UNCHANGED)
def test_causes_remain(error: str) -> None:
    assert without_addresses(error) == error


def test_a_long_error_takes_no_long_time() -> None:
    for text in ("a." * 500_000, "a:" * 500_000, "/a" * 500_000, "f" * 10**6, "('" * 500_000):
        assert least_cpu_s(partial(without_addresses, text), 0.5) < 0.5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("proxy 10.0.0.5:8080 says no", "proxy (address) says no"),
        ("at [fd00::1:2:3]:80", "at (address)"),
        ("your IP 203.0.113.9", "your IP (address)"),
        ("over ::ffff:10.0.0.5 and [2001:db8::7]:443", "over (address) and (address)"),
        ("at 2001:db8:0:0:0:0:0:7", "at (address)"),
        ("std::map, 'x'::text, 1.2.3", "std::map, 'x'::text, 1.2.3"),
        ("ratio 1.25, code -1121, at 12:30:00", "ratio 1.25, code -1121, at 12:30:00"),
    ],
)
def test_addresses_are_hidden_and_numbers_are_not(text: str, told: str) -> None:
    assert without_ips(text) == told
