"""The simulator has every resource that the product's registry names."""

import re

from config import load_settings
from providers.assets import load as load_assets
from providers.registry import load as load_registry
from providers.resources import State
from simulator.providers.all_sites import provider_sites
from simulator.providers.assets import ASSETS, BY_CMC, BY_COINGECKO, BY_COINLORE, BY_COINPAPRIKA

_PLACEHOLDER = re.compile(r"\{[a-z_0-9]+\}")


def test_every_host_of_the_registry_is_simulated() -> None:
    hosts = {host for site in provider_sites({}) for host in site.hosts}
    rows = [row for row in load_registry(load_settings()).resources if row.state is not State.DEAD]
    missing = {row.id for row in rows if row.url and row.url.split("/")[2] not in hosts}
    assert len(rows) > 160
    assert missing == set()


def test_every_asset_of_the_product_has_the_same_names_here() -> None:
    known = {"coingecko": BY_COINGECKO, "coinpaprika": BY_COINPAPRIKA, "cmc": BY_CMC,
             "coinlore": BY_COINLORE}  # fmt: skip
    wrong = []
    for asset in load_assets():
        symbol = asset.id.upper()
        for namespace, by_name in known.items():
            name = asset.names.get(namespace)
            if name is not None and getattr(by_name.get(name), "symbol", None) != symbol:
                wrong.append((asset.id, namespace, name))
        if symbol not in ASSETS:
            wrong.append((asset.id, "symbol", symbol))
    assert wrong == []
