"""The registry of providers, read at start: a mistake in it ends a process before it serves."""

from config import Settings, SettingsError
from providers.registry import Registry, load
from providers.registry_files import RegistryError


def read_registry(settings: Settings) -> Registry:
    """Ours, with the file of PROVIDERS. Raises SettingsError with a line for each mistake."""
    try:
        return load(settings)
    except RegistryError as error:
        raise SettingsError([f"PROVIDERS: {line}" for line in error.lines]) from None
