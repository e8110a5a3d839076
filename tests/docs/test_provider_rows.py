"""docs/provider-rows.md has every key, reader, field, unit, class and placeholder of rows."""

import re
from collections.abc import Iterable
from typing import Final

import pytest

from providers.errors import ErrorClass
from providers.exact import TIMES
from providers.naming import OF_REQUESTS, OF_SUBJECTS
from providers.readers.checks import mistakes_of_reading
from providers.readers.table import READERS
from providers.records import PriceKind
from providers.registry import FOLDER, build
from providers.registry_rows import (
    LEVELS,
    ErrorTable,
    KeyTable,
    LevelTable,
    ProviderTable,
    ResourceTable,
    Table,
)
from providers.resources import KeyPlace, State
from tests.docs.blocks import ROOT
from tests.providers.making import resource

TEXT: Final = (ROOT / "docs" / "provider-rows.md").read_text(encoding="utf-8")
WORDS: Final = frozenset(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`]*)`", TEXT))))
FORMS: Final = (ResourceTable, ProviderTable, KeyTable, ErrorTable, LevelTable)


def keys(form: type[Table]) -> Iterable[str]:
    return (field.alias or name for name, field in form.model_fields.items())


@pytest.mark.parametrize("form", FORMS)
def test_keys(form: type[Table]) -> None:
    assert not set(keys(form)) - WORDS


def test_words() -> None:
    for words in (
        LEVELS,
        State,
        KeyPlace,
        ErrorClass,
        PriceKind,
        READERS,
        OF_SUBJECTS,
        OF_REQUESTS,
    ):
        assert not set(map(str, words)) - WORDS
    assert not set(TIMES) - WORDS


def test_chains() -> None:
    chains = set(build(sorted(FOLDER.glob("*.toml")), None).chains())
    assert not {each for each in chains if not each.startswith("rpc.")} - WORDS


@pytest.mark.parametrize("kind", ["price", "sentiment", "gas", "stats", "balance", "news"])
def test_fields_of_read(kind: str) -> None:
    """What an unknown key is told to choose from."""
    chain = {"price": "price.spot", "news": "news", "balance": "balance.bsc"}.get(kind)
    row = resource(chain or f"{kind}.evm", read={"nonsense": "x"})
    [told] = [reason for key, reason in mistakes_of_reading(row) if key == "read.nonsense"]
    known = set(told.partition("there are ")[2].split(", "))
    assert len(known) > 8
    assert not known - WORDS


def test_names_of_assets() -> None:
    """Those that rows of ours use."""
    used = {
        name
        for each in build(sorted(FOLDER.glob("*.toml")), None).resources
        for name in re.findall(r"\{(\w+)\}", str(each.read.get("id", "")))
        if each.state is State.ALIVE and not each.needs_key
    }
    assert not used - WORDS
