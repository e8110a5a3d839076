"""The registry of providers, read at start: a mistake in it ends a process before it serves."""

from config import Settings, SettingsError
from providers import assets
from providers.assets import UnknownAsset
from providers.networks import UnknownNetwork, network_of
from providers.registry import Registry, load
from providers.registry_files import RegistryError


def read_registry(settings: Settings) -> Registry:
    """Ours, with the file of PROVIDERS. Raises SettingsError with a line for each mistake."""
    try:
        return load(settings)
    except RegistryError as error:
        raise SettingsError([f"PROVIDERS: {line}" for line in error.lines]) from None


def check_providers(settings: Settings) -> None:
    """Raises SettingsError, with a line for each mistake in what the settings name of providers."""
    if settings.providers == "off":
        return
    if settings.providers != "on":
        read_registry(settings)
    wrong = []
    for name in settings.agent_assets:
        try:
            assets.load().find(name)
        except UnknownAsset as error:
            wrong.append(f"AGENT_ASSETS: {error}")
    for name in settings.agent_chains:
        try:
            network_of(name)
        except UnknownNetwork as error:
            wrong.append(f"AGENT_CHAINS: {error}")
    if wrong:
        raise SettingsError(wrong)
