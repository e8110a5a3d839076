"""What docs/deploying.md says about a Redis that others use too."""

from collections.abc import Callable
from typing import Final

import pytest
import redis

from config import load_settings
from stores.hot.inspection import RIGHTS, Inspection, inspect
from stores.hot.owner import OWNER_KEY
from stores.hot.redis_client import NativeStore
from stores.hot.store import StoreRefused
from tests.docs.blocks import ROOT, claim
from tests.fixtures.upstash import OwnValkey

SETTINGS: Final = claim("docs/deploying.md", "REDIS_PREFIX=")
RULE: Final = claim("docs/deploying.md", "ACL SETUSER")


async def test_the_rule_gives_all_rights_that_are_needed_and_no_other_keys(
    own_valkey: Callable[..., OwnValkey],
) -> None:
    given = dict(line.split("=", 1) for line in SETTINGS.text.split())
    prefix = load_settings(**{name.lower(): value for name, value in given.items()}).redis_prefix
    server = own_valkey()
    with redis.Redis.from_url(server.url) as owner:
        owner.execute_command(*RULE.text.split())
    url = server.url.replace("unix://", "unix://perpcache:PASSWORD@")
    store = NativeStore(url, client_name="test", prefix=prefix)
    others = NativeStore(url, client_name="test", prefix="other:")
    try:
        assert await inspect(store) == Inspection()
        async with store.listen(store.channel("published")):
            pass
        with pytest.raises(StoreRefused, match="NOPERM"):
            await others.execute("GET", "cache:4h")
    finally:
        await store.aclose()
        await others.aclose()
    assert RULE.text.strip().endswith(RIGHTS)
    assert f"`{prefix}{OWNER_KEY}`" in (ROOT / "docs/deploying.md").read_text()
