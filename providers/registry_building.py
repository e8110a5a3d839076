"""Building: registry files made into providers, resources and levels, mistakes told by line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from providers.registry_checks import kind_of
from providers.registry_files import Place, RegistryError, RegistryFile
from providers.registry_rows import (
    LEVELS,
    TTL_S,
    ErrorTable,
    KeyTable,
    LevelTable,
    ProviderTable,
    ResourceTable,
    Table,
    told,
)
from providers.resources import (
    ErrorRule,
    KeySlot,
    Level,
    LevelTimes,
    Limit,
    Provider,
    Resource,
)

Form = TypeVar("Form", bound=Table)

_TABLES: Final = ("levels", "providers", "resources", "rpc")
# Of nodes whose host no provider has: public nodes refuse much more than that.
_NODE_LIMIT: Final = Limit(10, 1)


@dataclass(slots=True)
class Merged:
    """A table put together from files. `origin`: of each key the file and place that it is from."""

    place: str
    values: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, tuple[RegistryFile, Place]] = field(default_factory=dict)
    private: bool = False  # whether its URL is from the operator's file

    def put(
        self, file: RegistryFile, where: Place, values: Mapping[str, Any], private: bool
    ) -> None:
        self.values.update(values)
        self.origin.update(dict.fromkeys(values, (file, where)))
        self.private = self.private or (private and "url" in values)

    def at(self, keys: tuple[Any, ...]) -> str:
        if keys and keys[0] in self.origin:
            file, where = self.origin[keys[0]]
            return file.at(*where, *keys)
        return self.place


class Building:
    """Takes in files one after another, the operator's last, whose tables change ours key by key,
    or add to them; then builds what they say together."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self._levels: dict[str, Merged] = {}
        self._providers: dict[str, Merged] = {}
        self._resources: dict[str, Merged] = {}
        self._hosts: dict[str, str] = {}  # endings of hosts, and whose they are
        self.providers: dict[str, Provider] = {}

    def take(self, file: RegistryFile, private: bool = False) -> None:
        """`private`: it is the operator's file, which may change what is known."""
        for name, tables in file.tables.items():
            if name not in _TABLES:
                self.wrong(file.at(name), f"{name} is unknown; there are {', '.join(_TABLES)}")
            elif name == "resources" and isinstance(tables, list):
                self._take_resources(file, tables, private)
            elif name == "resources" or not isinstance(tables, dict):
                form = "[[resources]]" if name == "resources" else f"[{name}.<id>]"
                self.wrong(file.at(name), f"write {name} as {form}")
            elif name == "rpc":
                self._take_nodes(file, tables, private)
            else:
                known = self._levels if name == "levels" else self._providers
                for id_, table in tables.items():
                    self._put(known, id_, file, (name, id_), table, private)

    def chains(self) -> frozenset[str]:
        return frozenset(id_.partition("/")[0] for id_ in self._resources)

    def wrong(self, place: str, text: str) -> None:
        self.mistakes.append(f"{place}: {text}")

    def _put(
        self,
        known: dict[str, Merged],
        id_: str,
        file: RegistryFile,
        where: Place,
        table: Any,
        private: bool,
    ) -> None:
        if not isinstance(table, dict):
            self.wrong(file.at(*where), f"{id_}: must be a table")
            return
        known.setdefault(id_, Merged(file.at(*where))).put(file, where, table, private)

    def _take_resources(self, file: RegistryFile, tables: list[Any], private: bool) -> None:
        seen: dict[str, str] = {}
        for number, table in enumerate(tables):
            where = ("resources", number)
            id_ = table.get("id") if isinstance(table, dict) else None
            if not isinstance(id_, str):
                self.wrong(file.at(*where), "a resource without an id")
                continue
            if id_ in seen or (id_ in self._resources and not private):
                first = seen.get(id_) or self._resources[id_].place
                self.wrong(file.at(*where, "id"), f"{id_} is at {first} already")
                continue
            seen[id_] = file.at(*where)
            self._put(self._resources, id_, file, where, table, private)

    def _take_nodes(self, file: RegistryFile, chains: Mapping[str, Any], private: bool) -> None:
        """[rpc]: `chain = [URLs]` of the level critical, or [rpc.<chain>] with lists by level."""
        for chain, lists in chains.items():
            by_level = {"critical": lists} if isinstance(lists, list) else lists
            if not isinstance(by_level, dict) or not all(
                level in LEVELS and _are_texts(urls) for level, urls in by_level.items()
            ):
                self.wrong(
                    file.at("rpc", chain),
                    f"rpc.{chain}: must be a list of URLs, or lists of {', '.join(LEVELS)}",
                )
                continue
            for level, urls in by_level.items():
                where = ("rpc", chain) if isinstance(lists, list) else ("rpc", chain, level)
                for url in urls:
                    self._take_node(file, where, chain, level, url, private)

    def _take_node(
        self, file: RegistryFile, where: Place, chain: str, level: str, url: str, private: bool
    ) -> None:
        host = host_of(url)
        if not host:
            self.wrong(file.at(*where), f"{url[:80]!r} is no URL such as https://host/path")
            return
        id_ = f"rpc.{chain}/{host}"
        number = 2
        while id_ in self._resources and self._resources[id_].values["url"] != url:
            id_ = f"rpc.{chain}/{host}:{number}"
            number += 1
        table = {"id": id_, "level": level, "url": url, "method": "POST", "reader": "jsonrpc"}
        self._put(self._resources, id_, file, where, table, private)

    def levels(self) -> dict[Level, LevelTimes]:
        found = {}
        for name, merged in self._levels.items():
            if name not in LEVELS:
                self.wrong(merged.place, f"levels.{name} is unknown; there are {', '.join(LEVELS)}")
            elif table := self._read(LevelTable, f"levels.{name}", merged):
                found[Level[name.upper()]] = LevelTimes(
                    table.connect_s, table.read_s, table.total_s, table.attempts
                )
        return found

    def read_providers(self) -> None:
        for id_, merged in self._providers.items():
            if table := self._read(ProviderTable, f"providers.{id_}", merged):
                self._hosts.update(dict.fromkeys(table.hosts, id_))
                self.providers[id_] = Provider(
                    id_,
                    table.name,
                    tuple(Limit(*pair) for pair in table.limits),
                    table.attribution,
                    table.attribution_url,
                    _slot(table.key, id_) if table.key else None,
                    _rules(table.errors),
                    table.terms,
                )

    def resources(self) -> Iterator[tuple[Resource, Merged]]:
        for id_, merged in self._resources.items():
            if table := self._read(ResourceTable, id_, merged):
                provider = self._provider(table, merged)
                if provider is not None:
                    if isinstance(table.key, str) or table.key is True:
                        self._check_key(table, provider, merged)
                    yield _resource(table, provider, merged.private), merged

    def _check_key(self, table: ResourceTable, provider: Provider, merged: Merged) -> None:
        if provider.key is None:
            self.wrong(merged.at(("key",)), f"{table.id}: key: needs the place that carries it")

    def _provider(self, table: ResourceTable, merged: Merged) -> Provider | None:
        named = table.provider or table.id.partition("/")[2].partition(":")[0]
        if named in self.providers:
            return self.providers[named]
        host = host_of(table.url or "")
        for ending, id_ in self._hosts.items():
            if table.provider is None and (host == ending or host.endswith(f".{ending}")):
                return self.providers[id_]
        if table.provider is None and merged.private:
            limits = (_NODE_LIMIT,) if table.reader == "jsonrpc" else ()
            made = Provider(named, named, limits, None, None, None, ())
            return self.providers.setdefault(named, made)
        self.wrong(merged.at(("provider",)), f"{table.id}: there is no [providers.{named}]")
        return None

    def _read(self, form: type[Form], name: str, merged: Merged) -> Form | None:
        try:
            return form.model_validate(merged.values)
        except ValidationError as errors:
            for error in errors.errors():
                self.wrong(merged.at(error["loc"]), f"{name}: {told(error)}")
            return None

    def finish(self) -> None:
        if self.mistakes:
            raise RegistryError(self.mistakes)


def host_of(url: str) -> str:
    """Empty where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _slot(table: KeyTable, provider: str) -> KeySlot:
    variable = provider.upper().replace("-", "_").replace(".", "_") + "_API_KEY"
    return KeySlot(table.variable or variable, table.place, table.name, table.optional)


def _rules(tables: list[ErrorTable]) -> tuple[ErrorRule, ...]:
    return tuple(
        ErrorRule(
            str(each.class_),
            tuple(each.status),
            each.path,
            each.matches,
            each.unless,
            each.until,
        )
        for each in tables
    )


def _key(table: ResourceTable, provider: Provider) -> KeySlot | None:
    if isinstance(table.key, KeyTable):
        return _slot(table.key, provider.id)
    slot = provider.key
    if table.key is False or slot is None:
        return None
    if isinstance(table.key, str):
        return KeySlot(table.key, slot.place, slot.name, slot.optional)
    return slot


def _resource(table: ResourceTable, provider: Provider, private: bool) -> Resource:
    chain = table.id.partition("/")[0]
    kind = kind_of(chain)
    usual = TTL_S[kind] if kind else 0.0
    return Resource(
        id=table.id,
        chain=chain,
        provider=provider,
        level=Level[table.level.upper()],
        state=table.state,
        reason=table.reason,
        since=table.since,
        method=table.method,
        url=table.url or "",
        headers=table.headers,
        query=table.query,
        body=table.body,
        via=table.via,
        key=_key(table, provider),
        weight=table.weight,
        ttl_s=usual if table.ttl_s is None else table.ttl_s,
        batch=table.batch,
        hedge=table.hedge,
        probe=table.probe,
        reader=table.reader,
        read=table.read,
        errors=_rules(table.errors),
        private=private,
    )
