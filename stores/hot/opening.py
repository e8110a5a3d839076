"""The choice of a hot store's client: by a redis URL, or by what the settings name."""

from config import Settings
from stores.hot.redis_client import NativeStore
from stores.hot.store import HotStore


def open_hot_store(where: Settings | str, *, client_name: str) -> HotStore:
    """The client of the store that the settings, or a redis URL, name. Connects when first used.

    Raises ValueError where the settings name no store, or the URL cannot be used.
    """
    if isinstance(where, str):
        return NativeStore(where, client_name=client_name)
    if where.upstash_redis_rest_url and where.upstash_redis_rest_token:
        # Its client brings much along that who has a Redis need not load.
        from stores.hot.upstash_client import UpstashStore

        token = where.upstash_redis_rest_token.get_secret_value()
        return UpstashStore(where.upstash_redis_rest_url, token)
    if where.redis_url:
        return NativeStore(where.redis_url.get_secret_value(), client_name=client_name)
    raise ValueError("no hot store is configured: give the address of the embedded one")
