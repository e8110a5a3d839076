"""What a row's {placeholders} stand for: a provider's names of a subject, its chain, its quote."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from providers.accounts import tron_evm
from providers.assets import Assets
from providers.networks import networks
from providers.paths import filled, placeholders
from providers.questions import Kind, Question
from providers.resources import Resource

# Of every subject, and of the whole request (`key` is filled where requests are made).
OF_SUBJECTS: Final = frozenset(
    {"chain", "chain_id", "quote", "quote_lower", "address", "address_lower", "address_0x"}
)
OF_REQUESTS: Final = frozenset({"key", "id", "ids", "ids_json", "ids_pipe"})
_DEFAULT_QUOTES: Final = ("USD",)


@dataclass(frozen=True, slots=True)
class Named:
    """One subject as a row's provider names it."""

    subject: str
    values: Mapping[str, str]
    multiplier: int = 1


def named(resource: Resource, question: Question, subject: str, assets: Assets) -> Named | None:
    """None where the row does not answer for the subject: another quote, chain or asset, or one
    that its provider has no name for."""
    return _named(resource, question.kind, question.option("quote", "usd"), subject, assets)


@lru_cache(maxsize=4096)
def _named(
    resource: Resource, kind: Kind, quote: str, subject: str, assets: Assets
) -> Named | None:
    read = resource.read
    quote = quote.upper()
    if kind is Kind.PRICE and quote not in read.get("quotes", _DEFAULT_QUOTES):
        return None
    # In a row of news, `assets` is where an item names its own.
    if kind is not Kind.NEWS and subject not in read.get("assets", (subject,)):
        return None
    values = {"quote": quote, "quote_lower": quote.lower(), **_of_chain(resource, subject)}
    if values.get("chain") not in read.get("chains", (values.get("chain"),)):
        return None
    if kind is Kind.BALANCE:
        values["address"], values["address_lower"] = subject, subject.lower()
        if values.get("chain") == "tron":
            values["address_0x"] = tron_evm(subject)
    template = read.get("id")
    if template is None:
        return Named(subject, values)
    return _with_id(str(template), subject, values, assets)


def _of_chain(resource: Resource, subject: str) -> dict[str, str]:
    name = resource.chain.partition(".")[2]
    network = networks().get(name) or networks().get(subject)
    if network is None:
        return {}
    found = {"chain": network.id}
    if network.chain_id is not None:
        found["chain_id"] = str(network.chain_id)
    return found


def _with_id(template: str, subject: str, values: dict[str, str], assets: Assets) -> Named | None:
    wanted = placeholders(template)
    multiplier = 1
    names = dict(values)
    if set(wanted) - OF_SUBJECTS:
        asset = assets.find(subject)
        names = {**asset.names, **values}
        multiplier = max((asset.multipliers.get(name, 1) for name in wanted), default=1)
    if not set(wanted) <= names.keys():
        return None
    values["id"] = filled(template, names)
    return Named(subject, values, multiplier)


def decimals_of(chain: str) -> tuple[str, int]:
    """The coin of a chain and its decimals, such as eth and 18. Raises KeyError."""
    network = networks()[chain]
    return network.coin, network.decimals


def texts_in(value: Any) -> list[str]:
    """All texts in a template of any shape."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in texts_in(each)]
    return [text for each in value for text in texts_in(each)] if isinstance(value, list) else []
