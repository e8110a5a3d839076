"""Reads lists of transfers of others: watched tokens, and services that name great transfers.

An asset is found by its contract, or by what only one of our assets is called on that chain. Others
are left out. Whoever asks prices them: `value_usd` is None where the provider gives no price.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from providers.assets import Asset
from providers.exact import BadValue, block_of, positive, shown, time_ms, times, whole_of
from providers.naming import decimals_of, named
from providers.readers.asked import Asked
from providers.readers.explorers import etherscan_document, tron_base58
from providers.readers.values import smallest_units
from providers.records import Record, WhaleTransfer

_LONGEST_HASH: Final = 128
_CONFIRMATIONS: Final = 12
_TYPES: Final = ("transfer", "mint", "burn", "lock", "unlock", "freeze", "unfreeze")


def read_token_transfers(body: bytes, asked: Asked) -> list[Record]:
    """Etherscan's tokentx: {"result":[{"blockNumber":"14051455","timeStamp":"1642802286","hash",
    "from","to","contractAddress","value":"1166000000","tokenDecimal":"6","confirmations"}]}."""
    listed = etherscan_document(body, asked).get("result")
    return _each(_listed(listed, asked), asked, _token_transfer)


def _token_transfer(item: Any, asked: Asked, chain: str) -> Iterator[WhaleTransfer]:
    asset, decimals = _by_contract(asked, chain, item.get("contractAddress"))
    if asset is not None:
        yield WhaleTransfer(
            **_parts(asked, chain, item.get("hash"), asset, decimals),
            index=0,
            type="transfer",
            contract=item["contractAddress"],
            amount_raw=_needed(item.get("value")),
            senders=(_address(item.get("from")),),
            receivers=(_address(item.get("to")),),
            block=block_of(item.get("blockNumber")),
            time_ms=time_ms(item.get("timeStamp"), "s"),
            confirmed=(whole_of(item.get("confirmations")) or 0) >= _CONFIRMATIONS,
        )


def read_tronscan(body: bytes, asked: Asked) -> list[Record]:
    """{"token_transfers":[{"transaction_id","block_ts" (ms),"block","from_address","to_address",
    "contract_address","quant":"1000000","confirmed":true}]}."""
    document = asked.document(body)
    listed = document.get("token_transfers") if isinstance(document, dict) else None
    return _each(_listed(listed, asked), asked, _tron_transfer)


def _tron_transfer(item: Any, asked: Asked, chain: str) -> Iterator[WhaleTransfer]:
    contract = tron_base58(item.get("contract_address"))
    asset, decimals = _by_contract(asked, chain, contract)
    if asset is not None:
        yield WhaleTransfer(
            **_parts(asked, chain, item.get("transaction_id"), asset, decimals),
            index=0,
            type="transfer",
            contract=contract,
            amount_raw=_needed(item.get("quant")),
            senders=(tron_base58(item.get("from_address")),),
            receivers=(tron_base58(item.get("to_address")),),
            block=block_of(item.get("block")),
            time_ms=time_ms(item.get("block_ts"), "ms"),
            confirmed=item.get("confirmed") is True,
        )


def read_whale_alert(body: bytes, asked: Asked) -> list[Record]:
    """{"height","timestamp" (s),"hash","sub_transactions":[{"symbol","unit_price_usd",
    "transaction_type","inputs":[{"address","amount":"499999.8","owner"}],"outputs":[..]}]}; a list
    of those, or one. A mint has no inputs, a burn no outputs."""
    document = asked.document(body)
    if isinstance(document, dict):
        document = [document] if "sub_transactions" in document else document.get("transactions")
    parts = [
        (item, index, part)
        for item in _listed(document, asked)
        for index, part in enumerate(_subs(item))
    ]
    return _each(parts, asked, _whale_transfer)


def _subs(item: Any) -> list[Any]:
    found = item.get("sub_transactions") if isinstance(item, dict) else None
    return found if isinstance(found, list) else [None]  # which cannot be read


def _whale_transfer(
    found: tuple[Any, int, Any], asked: Asked, chain: str
) -> Iterator[WhaleTransfer]:
    item, index, part = found
    asset, contract, decimals = _by_symbol(asked, chain, part.get("symbol"))
    if asset is not None:
        inputs, outputs = part.get("inputs") or [], part.get("outputs") or []
        kind, senders = _type(part.get("transaction_type")), _addresses(inputs)
        # What comes back to a sender is change.
        outputs = [each for each in outputs if each.get("address") not in senders]
        amount = _moved(inputs if kind == "burn" else outputs)
        price = positive(part.get("unit_price_usd"))
        yield WhaleTransfer(
            **_parts(asked, chain, item.get("hash"), asset, decimals)
            | {
                "value_usd": None if price is None else times(amount, price),
                "price_source": None if price is None else asked.resource.provider.id,
            },
            index=index,
            type=kind,
            contract=contract,
            amount_raw=_needed(smallest_units(amount, decimals)),
            senders=senders,
            receivers=_addresses(outputs),
            sender_owner=_owner(inputs),
            receiver_owner=_owner(outputs),
            block=block_of(item.get("height")),
            time_ms=time_ms(item.get("timestamp"), "s"),
            confirmed=True,
        )


def read_bitquery(body: bytes, asked: Asked) -> list[Record]:
    """{"data":{"EVM":{"Transfers":[{"Block":{"Number","Time"},"Transaction":{"Hash"},"Transfer":
    {"Index","Amount":"1.5","AmountInUSD","Sender","Receiver","Currency":{"SmartContract"}}}]}}}."""
    document = asked.document(body)
    for key in ("data", "EVM", "Transfers"):
        document = document.get(key) if isinstance(document, dict) else None
    return _each(_listed(document, asked), asked, _bitquery_transfer)


def _bitquery_transfer(item: Any, asked: Asked, chain: str) -> Iterator[WhaleTransfer]:
    transfer, block = item["Transfer"], item["Block"]
    contract = transfer["Currency"].get("SmartContract")
    if not contract or set(contract.removeprefix("0x")) <= {"0"}:
        contract = None
        (asset, decimals) = decimals_of(chain)
    else:
        found, decimals = _by_contract(asked, chain, contract)
        if found is None:
            return
        asset = found
    value_usd = positive(transfer.get("AmountInUSD"))
    yield WhaleTransfer(
        **_parts(asked, chain, item["Transaction"].get("Hash"), asset, decimals)
        | {
            "value_usd": value_usd,
            "price_source": None if value_usd is None else asked.resource.provider.id,
        },
        index=block_of(transfer.get("Index")) or 0,
        type="transfer",
        contract=contract,
        amount_raw=_needed(smallest_units(transfer.get("Amount"), decimals)),
        senders=(_address(transfer.get("Sender")),),
        receivers=(_address(transfer.get("Receiver")),),
        block=block_of(block.get("Number")),
        time_ms=time_ms(block.get("Time"), "iso"),
        confirmed=False,
    )


def _listed(found: Any, asked: Asked) -> list[Any]:
    if not isinstance(found, list):
        raise asked.bad(f"{shown(found)} is not a list of transfers")
    return found


def _each(
    listed: list[Any],
    asked: Asked,
    make: Callable[[Any, Asked, str], Iterable[WhaleTransfer]],
) -> list[Record]:
    """The transfers of a list. One that cannot be read is left out; if none can, it is bad. An
    empty list is an answer. Those of one transaction without numbers are numbered."""
    subject = asked.subjects[0]
    name = named(asked.resource, asked.question, subject, asked.assets)
    if name is None:
        raise asked.nothing()
    chain = name.values["chain"]
    found: list[WhaleTransfer] = []
    bad: Exception | None = None
    for item in listed:
        try:
            found.extend(make(item, asked, chain))
        except (BadValue, KeyError, AttributeError, TypeError) as error:
            bad = error
    if bad is not None and not found:
        raise asked.bad(f"a transfer cannot be read: {bad!r}") from bad
    return list(_numbered(found))


def _numbered(found: list[WhaleTransfer]) -> Iterator[WhaleTransfer]:
    seen: Counter[tuple[str, int]] = Counter()
    for each in found:
        times_seen = seen[each.tx_hash, each.index]
        seen[each.tx_hash, each.index] += 1
        yield each if not times_seen else replace(each, index=each.index + times_seen)


def _parts(asked: Asked, chain: str, tx_hash: Any, asset: str, decimals: int) -> dict[str, Any]:
    if not isinstance(tx_hash, str) or not 0 < len(tx_hash.strip()) <= _LONGEST_HASH:
        raise BadValue(f"{shown(tx_hash)} is not a transaction")
    return {
        **asked.common(None),
        "chain": chain,
        "tx_hash": tx_hash,
        "asset": asset,
        "decimals": decimals,
        "value_usd": None,
        "price_source": None,
    }


def _needed(value: Any) -> int:
    found = whole_of(value)
    if found is None:
        raise BadValue("an amount is missing")
    return found


def _by_contract(asked: Asked, chain: str, contract: Any) -> tuple[str | None, int]:
    found = asked.assets.by_token(chain, contract) if isinstance(contract, str) else None
    return (None, 0) if found is None else (found[0].id, found[1].decimals)


def _by_symbol(asked: Asked, chain: str, symbol: Any) -> tuple[str | None, str | None, int]:
    """Of the chain's own coin, or of the one asset that has this symbol and a contract there."""
    wanted = str(symbol).upper()
    coin, decimals = decimals_of(chain)
    if wanted == coin.upper():
        return coin, None, decimals
    having: list[Asset] = [
        each for each in asked.assets if each.symbol == wanted and chain in each.tokens
    ]
    if len(having) != 1:
        return None, None, 0
    token = having[0].tokens[chain]
    return having[0].id, token.contract, token.decimals


def _moved(parts: list[Any]) -> Decimal:
    """What all parts have together. Raises BadValue where one does not say: the rest is less."""
    amounts = [positive(each.get("amount")) for each in parts]
    told = [amount for amount in amounts if amount is not None]
    if not told or len(told) < len(amounts):
        raise BadValue("an amount is missing")
    return sum(told, Decimal(0))


def _address(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadValue(f"{shown(value)} is not an address")
    return value


def _addresses(parts: list[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_address(each["address"]) for each in parts if each.get("address")))


def _owner(parts: list[Any]) -> str | None:
    return next((each["owner"] for each in parts if each.get("owner")), None)


def _type(text: Any) -> str:
    if text not in _TYPES:
        raise BadValue(f"{shown(text)} is none of {', '.join(_TYPES)}")
    return str(text)
