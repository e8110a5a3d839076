"""Which client opens a store, and with what."""

import pytest

from config import load_settings
from stores.hot.opening import open_hot_store
from stores.hot.redis_client import NativeStore
from stores.hot.upstash_client import UpstashStore

REST = {"upstash_redis_rest_url": "https://x.test", "upstash_redis_rest_token": "geheim"}


def test_a_url_is_opened_without_a_prefix() -> None:
    store = open_hot_store("redis://127.0.0.1:7/3", client_name="me")
    assert isinstance(store, NativeStore)
    assert (store.prefix, store._client_name, store._options["db"]) == ("", "me", 3)


def test_settings_with_a_redis_url() -> None:
    settings = load_settings(redis_url="redis://127.0.0.1:7/3", redis_prefix="p:")
    store = open_hot_store(settings, client_name="me")
    assert isinstance(store, NativeStore)
    assert (store.prefix, store._client_name, store._options["db"]) == ("p:", "me", 3)


def test_settings_with_an_upstash_database() -> None:
    store = open_hot_store(load_settings(**REST, redis_prefix="p:"), client_name="me")
    assert isinstance(store, UpstashStore)
    assert store.prefix == "p:" and store._redactor.clean("geheim") == "***"
    assert store._url == "https://x.test"


def test_settings_without_a_store() -> None:
    with pytest.raises(ValueError, match="no hot store is configured"):
        open_hot_store(load_settings(), client_name="me")
