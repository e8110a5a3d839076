"""The choice of the hot store's client (RESP or Upstash REST) from a URL or the settings."""

from config import Settings
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore


def open_hot_store(where: Settings | str, *, client_name: str) -> HotStore:
    """The client for the settings' hot store or for a redis URL. It connects when first used.

    Raises ValueError if the settings name no store or the URL is invalid.
    """
    if isinstance(where, str):
        return NativeStore(where, client_name=client_name)
    if where.upstash_redis_rest_url and where.upstash_redis_rest_token:
        # Imported here because the Upstash client loads many modules that Redis does not need.
        from stores.hot.upstash_client import UpstashStore

        token = where.upstash_redis_rest_token.get_secret_value()
        return UpstashStore(where.upstash_redis_rest_url, token)
    if where.redis_url:
        return NativeStore(where.redis_url.get_secret_value(), client_name=client_name)
    raise ValueError("no hot store is configured: pass the URL of the embedded one")
