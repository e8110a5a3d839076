"""The choice of the hot store's client (RESP or Upstash REST) from a URL or the settings."""

from config import Settings
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore


def open_hot_store(where: Settings | str, *, client_name: str) -> HotStore:
    """The client for the settings' hot store, with their prefix, or for a redis URL, without one.
    It connects when first used.

    Raises ValueError if the settings name no store or the URL is invalid.
    """
    if isinstance(where, str):
        return NativeStore(where, client_name=client_name)
    if where.upstash_redis_rest_url and where.upstash_redis_rest_token:
        # Imported here because the Upstash client loads many modules that Redis does not need.
        from stores.hot.upstash_client import UpstashStore

        url = where.upstash_redis_rest_url
        token = where.upstash_redis_rest_token.get_secret_value()
        proxy = where.usual_proxy(url)
        return UpstashStore(url, token, prefix=where.redis_prefix, proxy=proxy)
    if where.redis_url:
        url = where.redis_url.get_secret_value()
        return NativeStore(url, client_name=client_name, prefix=where.redis_prefix)
    raise ValueError("no hot store is configured: pass the URL of the embedded one")
