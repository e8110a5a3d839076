"""Settings: defaults, the environment, and one clear line for each wrong variable."""

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
        "EXCHANGES": "binance,okx",
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
        f"{exchange.upper()}_BASE_URL: must be an http:// or https:// address"
    ]
