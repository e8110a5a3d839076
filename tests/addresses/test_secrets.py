"""What of a setting is secret: of an address its passwords, of anything else all."""

import pytest

from addresses.secrets import secrets_in, secrets_of_environment


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("a-token", {"a-token"}),
        ("redis://h:6379/0", set()),
        ("redis://user@h", set()),
        ("redis://u:p%40w@h", {"p%40w", "p@w", "u:p%40w", "u:p@w"}),
        ("redis://:p/a#b@h", {"p/a#b", ":p/a#b"}),  # refused, but never to be shown
        ("postgresql://h/d?sslmode=require&password=a+b", {"a+b", "a b"}),
        ("rediss://h?ssl_password=x%2Fy", {"x%2Fy", "x/y"}),
    ],
)
def test_what_is_secret(value: str, secrets: set[str]) -> None:
    assert set(secrets_in(value)) == secrets


def test_keys_of_providers() -> None:
    environment = {
        "ETHERSCAN_API_KEY": " k-1\n",
        "CMC_API_KEY_2": "k-2",
        "cfgi_api_key": "k-3",
        "INFURA_API_KEY": "",
        "API_KEYS": "no",
    }
    assert list(secrets_of_environment(environment)) == ["k-1", "k-2", "k-3"]


def test_what_libraries_read_by_themselves() -> None:
    environment = {
        "https_proxy": "http://me:p-proxy@proxy:3128",
        "HTTP_PROXY": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "PGPASSWORD": "p-pg",
        "PATH": "/usr/bin",
    }
    assert set(secrets_of_environment(environment)) == {"p-proxy", "me:p-proxy", "p-pg"}
