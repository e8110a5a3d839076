"""The registry of providers, read at start: a mistake in it ends a process before it serves."""

from typing import TYPE_CHECKING

from config import Settings, SettingsError

if TYPE_CHECKING:
    from providers.registry import Registry

# What is imported below is loaded by no process that asks no providers.


def read_registry(settings: Settings) -> "Registry":
    """Ours, with the file of PROVIDERS. Raises SettingsError with a line for each mistake."""
    from providers.registry import load
    from providers.registry_files import RegistryError

    try:
        return load(settings)
    except RegistryError as error:
        raise SettingsError([f"PROVIDERS: {line}" for line in error.lines]) from None


def check_providers(settings: Settings) -> None:
    """Raises SettingsError, with a line for each mistake in what the settings name of providers."""
    if settings.providers == "off":
        return
    from providers.assets import ALL, UnknownAsset, load
    from providers.networks import UnknownNetwork, network_of

    if settings.providers != "on":
        read_registry(settings)
    wrong = []
    for name in settings.agent_assets:
        if name == ALL:
            continue
        try:
            load().find(name)
        except UnknownAsset as error:
            wrong.append(f"AGENT_ASSETS: {error}")
    for name in settings.agent_chains:
        try:
            network_of(name)
        except UnknownNetwork as error:
            wrong.append(f"AGENT_CHAINS: {error}")
    if wrong:
        raise SettingsError(wrong)
