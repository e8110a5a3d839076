"""Registry: every resource of every chain, from the files of registry/ and the operator's own."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from config import Settings
from providers.registry_building import Building, Merged
from providers.registry_checks import mistakes_of
from providers.registry_files import RegistryError, RegistryFile, read_registry_file
from providers.resources import Level, LevelTimes, Provider, Resource, State

FOLDER: Final = Path(__file__).parent / "registry"
_NO_FILE: Final = ("on", "off")


class Registry:
    """The rows, checked. Members of a chain are in the order in which they are asked."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        resources: Mapping[str, Resource],
        levels: Mapping[Level, LevelTimes],
    ) -> None:
        self.providers = providers
        self.levels = levels
        self._resources = resources
        ordered = sorted(resources.values(), key=lambda each: (each.chain, each.level))
        self._chains = {
            chain: tuple(each for each in members if each.state is not State.DEAD)
            for chain, members in groupby(ordered, key=lambda each: each.chain)
        }

    @property
    def resources(self) -> list[Resource]:
        """All rows, those of dead resources, too."""
        return list(self._resources.values())

    def chains(self) -> list[str]:
        return list(self._chains)

    def chain(self, id_: str) -> list[Resource]:
        """The members of a chain: alive ones and those that are off, by level. Raises KeyError."""
        return list(self._chains[id_])

    def resource(self, id_: str) -> Resource:
        """Raises KeyError."""
        return self._resources[id_]


def load(settings: Settings) -> Registry:
    """Our rows, and those of the file that PROVIDERS names. Raises RegistryError."""
    own = None if settings.providers in _NO_FILE else Path(settings.providers).expanduser()
    return build(sorted(FOLDER.glob("*.toml")), own)


def build(files: list[Path], own: Path | None) -> Registry:
    """`own`: the operator's file, whose tables change the others' key by key, or add to them."""
    building = Building()
    for path in files:
        building.take(read_registry_file(path))
    chains = building.chains()  # of which an operator's rows are members, too
    if own is not None:
        building.take(_own(own), private=True)
    levels = building.levels()
    building.read_providers()
    built = list(building.resources())
    for resource, merged in built:
        _check(building, resource, merged, chains)
    building.finish()
    return Registry(building.providers, {resource.id: resource for resource, _ in built}, levels)


def _own(path: Path) -> RegistryFile:
    if not path.exists():
        raise RegistryError([f"{path}: PROVIDERS is neither on nor off nor a file that exists"])
    return read_registry_file(path)


def _check(building: Building, resource: Resource, merged: Merged, chains: frozenset[str]) -> None:
    for key, reason in mistakes_of(resource, chains):
        building.wrong(merged.at(tuple(key.split("."))), f"{resource.id}: {key}: {reason}")


def key_of(resource: Resource, environ: Mapping[str, str]) -> SecretStr | None:
    """The key that the environment has for a resource; None where it takes none or has none."""
    if resource.key is None:
        return None
    value = environ.get(resource.key.variable, "").strip()
    return SecretStr(value) if value else None
