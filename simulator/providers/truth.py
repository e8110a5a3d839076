"""What is true on the simulated chains now: heads, fees, balances, and the great transfers."""

from collections.abc import Iterator
from typing import Any, Final

from simulator.providers import bitcoin, evm, solana, tron_chain
from simulator.providers.asked import View
from simulator.providers.chains import CHAINS, EvmChain

_EVM: Final = {chain.name: chain for chain in CHAINS.values()}
_NAMES: Final = (*_EVM, "bitcoin", "tron", "solana")
_MOST_BLOCKS: Final = 20_000


def chain_truth(view: View, name: str, address: str) -> dict[str, Any]:
    """Height and fees of a chain, and what an address holds in its smallest unit. Raises
    ValueError."""
    seed = view.seed
    if name in _EVM:
        chain = _EVM[name]
        height = chain.height_at(view.now_ms)
        return {
            "height": height, "time_ms": chain.time_ms(height),
            "base_fee_wei": str(evm.base_fee_wei(seed, chain, height)),
            "priority_wei": str(evm.priority_wei(seed, chain, height, 50)),
            "balance": str(evm.balance_wei(seed, chain, address)) if address else None,
        }  # fmt: skip
    if name == "bitcoin":
        height = bitcoin.height(view)
        return {
            "height": height, "time_ms": bitcoin.time_ms(seed, height),
            "fee_sat_per_vb": bitcoin.fee_sat_per_vb(view, 1),
            "balance": str(bitcoin.balance_sat(seed, address)) if address else None,
        }  # fmt: skip
    if name == "tron":
        hashed = tron_chain.hashed_of(address) or ""
        held = str(tron_chain.balance_sun(seed, hashed)) if address else None
        return {"height": tron_chain.height(view), "balance": held}
    if name == "solana":
        held = str(solana.balance_lamports(seed, address)) if address else None
        return {"height": solana.slot(view), "balance": held}
    raise ValueError(f"chain must be one of {', '.join(_NAMES)}")


def whales(
    view: View, name: str, first: int, last: int, min_usd: float
) -> Iterator[dict[str, Any]]:
    """The transfers worth so much in these blocks, and change left out. Raises ValueError."""
    if last - first > _MOST_BLOCKS:
        raise ValueError(f"at most {_MOST_BLOCKS} blocks")
    if name in _EVM:
        found = _of_evm(view, _EVM[name], first, last)
    elif name == "bitcoin":
        found = _of_bitcoin(view, first, last)
    elif name == "tron":
        found = (
            told for number in range(first, last + 1) for told in tron_chain.moved(view, number)
        )
    else:
        raise ValueError(f"chain must be one of {', '.join(_NAMES[:-1])}")
    return (told for told in found if told["usd"] >= min_usd)


def _of_evm(view: View, chain: EvmChain, first: int, last: int) -> Iterator[dict[str, Any]]:
    for number in range(first, last + 1):
        for move in evm.moved(view, chain, number):
            decimals = move.token.decimals if move.token else 18
            yield {
                "tx_hash": move.hash, "index": move.index, "asset": move.symbol,
                "contract": move.contract, "amount_raw": str(move.amount), "decimals": decimals,
                "usd": move.usd, "block": number, "time_ms": chain.time_ms(number),
                "from": move.sender, "to": move.receiver,
            }  # fmt: skip


def _of_bitcoin(view: View, first: int, last: int) -> Iterator[dict[str, Any]]:
    for number in range(first, last + 1):
        time_ms = bitcoin.time_ms(view.seed, number)
        price = view.prices.usd("BTC", time_ms)
        for sent in bitcoin.transactions(view, number):
            scripts = {each.script for each in sent.inputs}
            for index, each in enumerate(sent.outputs):
                if each.script not in scripts:
                    yield {
                        "tx_hash": sent.txid, "index": index, "asset": "BTC", "contract": None,
                        "amount_raw": str(each.value), "decimals": 8,
                        "usd": each.value / bitcoin.SATS * price, "block": number,
                        "time_ms": time_ms, "to": each.address,
                        "from": sent.inputs[0].address if sent.inputs else None,
                    }  # fmt: skip
