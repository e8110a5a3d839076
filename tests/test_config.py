"""Settings: defaults, the environment, and one clear line for each wrong variable."""

from pathlib import Path

import pytest

from config import SettingsError, load_settings
from market.markets import Exchange


def test_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRON_SECRET", "")
    monkeypatch.setenv("PORT", "")
    settings = load_settings()
    assert settings.cron_secret is None
    assert settings.port == 8000


def test_each_wrong_variable_gets_one_line_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "PORT": "80000",
        "EXCHANGES": "binance,deribit",
        "RATE_FRACTION": "1.5",
        "BYBIT_BASE_URL": "bybit",
        "LOG_FORMAT": "xml",
    }
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert {line.split(":")[0] for line in caught.value.lines} == set(wrong)
    assert all("\n" not in line for line in caught.value.lines)
    assert any("binance, bybit" in line for line in caught.value.lines)


def test_secrets_stay_out_of_errors_and_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hunter2@db/x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.lines[0].startswith("DATABASE_URL: must be a URL with postgresql://")
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@db/x")
    monkeypatch.setenv("API_TOKEN", "hunter2")
    assert "hunter2" not in repr(load_settings())


def test_upstash_needs_address_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTASH_REDIS_REST_URL", "https://x.upstash.io")
    with pytest.raises(SettingsError, match="UPSTASH_REDIS_REST_TOKEN"):
        load_settings()


def test_exchanges_are_a_comma_separated_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCHANGES", " Bybit ")
    assert load_settings().exchanges == (Exchange.BYBIT,)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("5m", ("5m",)),
        (" 1D,5M, 1h ", ("5m", "1h", "1d")),
        ("1d,1h,,5m,", ("5m", "1h", "1d")),
        # 4h and 8h are made together, whichever is named.
        ("8h", ("4h", "8h")),
        ("12h,4H", ("4h", "8h", "12h")),
        ("8h,4h", ("4h", "8h")),
    ],
)
def test_timeframes_are_a_comma_separated_choice(
    monkeypatch: pytest.MonkeyPatch, given: str, read: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TIMEFRAMES", given)
    assert load_settings().timeframes == read


def test_all_timeframes_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    every = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
    assert load_settings().timeframes == every
    monkeypatch.setenv("TIMEFRAMES", "")
    assert load_settings().timeframes == every


@pytest.mark.parametrize("given", ["7m", "all", ",", "5m;1h", "5m 1h", "1h,1H", "5", "5\u217fm"])
def test_wrong_timeframes_get_one_line_with_the_allowed_ones(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    assert refused(monkeypatch, TIMEFRAMES=given) == [
        "TIMEFRAMES: must be a comma-separated choice of"
        " 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, each once"
    ]


@pytest.mark.parametrize("exchange", list(Exchange))
def test_the_address_of_any_exchange_can_be_set(
    monkeypatch: pytest.MonkeyPatch, exchange: Exchange
) -> None:
    assert load_settings().base_url(exchange) is None
    monkeypatch.setenv(f"{exchange.upper()}_BASE_URL", "http://127.0.0.1:9000/")
    assert load_settings().base_url(exchange) == "http://127.0.0.1:9000"
    monkeypatch.setenv(f"{exchange.upper()}_BASE_URL", "ftp://127.0.0.1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.lines == [
        f"{exchange.upper()}_BASE_URL: must be a URL with http://, https://"
    ]


def refused(monkeypatch: pytest.MonkeyPatch, **given: str) -> list[str]:
    with monkeypatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        with pytest.raises(SettingsError) as caught:
            load_settings()
    return caught.value.lines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://:HUNTER2/x@127.0.0.1:6379/0"),
        ("REDIS_URL", "rediss://:HUNTER2@127.0.0.1:6379/0?ssl_cert_reqs=CERT_NONE"),
        ("DATABASE_URL", "postgresql://u:HUNTER2#x@h/d"),
        ("DATABASE_URL", "postgresql://u:HUNTER2@h/d?colour=red"),
        ("BINANCE_BASE_URL", "https://u:HUNTER2/x@h"),
        ("BYBIT_BASE_URL", "https://u:HUNTER2@h:x"),
        ("UPSTASH_REDIS_REST_URL", "https://u:HUNTER2@x.upstash.io"),
        ("UPSTASH_REDIS_REST_TOKEN", "HUNTER2 and more"),
        ("UPSTASH_REDIS_REST_TOKEN", "HUNTER2é"),
        ("CORS_ORIGINS", "https://example.org,https://u:HUNTER2@example.org"),
        ("HOST", "http://u:HUNTER2@127.0.0.1"),
        ("HOST", "[::1]"),
        ("REDIS_HOST", "redis://:HUNTER2@h"),
        ("REDIS_PORT", "HUNTER2"),
        ("REDIS_DB", "-1"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_address_gets_one_line_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (line,) = refused(monkeypatch, **{name: value})
    assert line.startswith(f"{name}: ")
    assert "hunter2" not in line.lower()
    assert "\n" not in line


def test_redis_in_parts_is_a_redis_url(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOST": "cache", "PORT": "6380", "PASSWORD": "p/a#s", "DB": "2"}.items():
        monkeypatch.setenv(f"REDIS_{name}", value)
    settings = load_settings()
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:p%2Fa%23s@cache:6380/2"
    assert "p/a#s" not in repr(settings) and "p%2Fa" not in repr(settings)
    # The same in both forms is no contradiction.
    monkeypatch.setenv("REDIS_URL", "redis://:p%2Fa%23s@cache:6380/2")
    assert load_settings().redis_url == settings.redis_url


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"REDIS_URL": "redis://:HUNTER2@a", "REDIS_HOST": "b"},
            "REDIS_URL and REDIS_HOST contradict each other",
        ),
        (
            {"REDIS_URL": "redis://:HUNTER2@a", "REDIS_PASSWORD": "HUNTER3"},
            "REDIS_URL and REDIS_PASSWORD contradict each other",
        ),
        ({"REDIS_PASSWORD": "HUNTER2"}, "REDIS_PASSWORD without REDIS_HOST"),
        (
            {
                "REDIS_HOST": "a",
                "UPSTASH_REDIS_REST_URL": "https://x.upstash.io",
                "UPSTASH_REDIS_REST_TOKEN": "HUNTER2",
            },
            "REDIS_HOST and UPSTASH_REDIS_REST_URL exclude each other",
        ),
        ({"CORE_DB_HOST": "db"}, "CORE_DB_HOST: is not read; set DATABASE_URL=postgresql://"),
    ],
)
def test_settings_that_contradict_each_other_are_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], told: str
) -> None:
    (line,) = refused(monkeypatch, **given)
    assert line.startswith(told)
    assert "HUNTER" not in line


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (False, False)),
        ({"TRADE_COLUMNS": "On"}, (False, True)),
        ({"FACADE": "on"}, (True, True)),
        ({"FACADE": "on", "TRADE_COLUMNS": "off"}, (True, True)),
        ({"FACADE": "off", "TRADE_COLUMNS": ""}, (False, False)),
    ],
)
def test_the_facade_implies_the_columns_of_trades(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: tuple[bool, bool]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.facade, settings.trade_columns) == expected


def test_a_switch_is_on_or_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACADE", "maybe")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.lines == ["FACADE: must be on or off"]


def test_variables_of_container_links_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    # Kubernetes sets it in every pod beside a service named redis.
    monkeypatch.setenv("REDIS_PORT", "tcp://10.0.0.11:6379")
    assert load_settings().redis_url is None
    monkeypatch.setenv("REDIS_URL", "redis://10.0.0.11:7000")
    monkeypatch.setenv("CORE_DB_HOST", "db")
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/x")
    assert load_settings().redis_port is None


@pytest.mark.parametrize(
    ("given", "level"), [("debug", "DEBUG"), ("Warn", "WARNING"), ("warning", "WARNING")]
)
def test_a_log_level_is_read_in_any_case(
    monkeypatch: pytest.MonkeyPatch, given: str, level: str
) -> None:
    monkeypatch.setenv("LOG_LEVEL", given)
    assert load_settings().log_level == level


def test_the_password_of_an_exchange_s_address_is_kept_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BINANCE_BASE_URL", "https://me:hun%40ter2@proxy.example/binance/")
    settings = load_settings()
    assert settings.base_url(Exchange.BINANCE) == "https://proxy.example/binance"
    assert settings.base_credentials(Exchange.BINANCE) == ("me", "hun@ter2")
    assert settings.base_credentials(Exchange.BYBIT) is None
    assert "ter2" not in repr(settings)


def test_all_secrets_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "REDIS_URL": "rediss://me:r%40dis@h?ssl_password=t%2Bls",
        "REDIS_PASSWORD": "r@dis",
        "DATABASE_URL": "postgresql://u:post+gres@h/d?sslmode=require",
        "BYBIT_BASE_URL": "https://u:bybit-pw@h",
        "CRON_SECRET": "cron-secret",
        "API_TOKEN": "api-token",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    secrets = set(load_settings().secrets())
    assert secrets >= {"r%40dis", "r@dis", "t+ls", "post+gres", "bybit-pw", "u:bybit-pw"}
    assert secrets >= {"cron-secret", "api-token"}
    # What is no secret must stay readable.
    assert not secrets & {"h", "u", "me", "require", given["DATABASE_URL"]}


def test_an_env_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"API_TOKEN=\xff\n")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.lines == [".env cannot be read: it is not UTF-8"]


def test_line_breaks_at_the_ends_of_an_address_are_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {
        "REDIS_URL": "redis://h/1\n",
        "DATABASE_URL": " postgresql://h/d\r\n",
        "BYBIT_BASE_URL": "https://h/\n",
        "HOST": "::1\n",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.redis_url is not None and settings.database_url is not None
    assert settings.redis_url.get_secret_value() == "redis://h/1"
    assert settings.database_url.get_secret_value() == "postgresql://h/d"
    assert (settings.base_url(Exchange.BYBIT), settings.host) == ("https://h", "::1")
