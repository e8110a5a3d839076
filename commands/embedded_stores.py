"""The embedded stores of a command: started or joined when no setting names a store."""

import contextlib
from collections.abc import AsyncIterator

from pydantic import SecretStr

from config import Settings


@contextlib.asynccontextmanager
async def embedded_stores(
    settings: Settings, *, hot: bool = True, cold: bool = True
) -> AsyncIterator[Settings]:
    """Starts or joins the stores that no setting names; yields settings that name every store that
    is needed: the `hot` one, the `cold` one."""
    valkey = hot and settings.embeds_hot_store
    postgres = cold and settings.database_url is None
    if not valkey and not postgres:
        yield settings
        return
    from stores.embedded.stores import EmbeddedStores

    stores = EmbeddedStores(settings.data_dir, valkey=valkey, postgres=postgres)
    addresses = await stores.start()
    try:
        urls = {"redis_url": addresses.redis_url, "database_url": addresses.database_url}
        yield settings.model_copy(
            update={name: SecretStr(url) for name, url in urls.items() if url is not None}
        )
    finally:
        await stores.stop()
