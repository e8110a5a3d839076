"""Readers: a provider's answer, bytes, to records. They ask nobody and keep nothing.

Rows name them; `json` reads most answers by the paths of the row. Each raises ProviderError where
an answer cannot be believed, and leaves out subjects that the provider does not know.
"""

from collections.abc import Mapping
from typing import Final

from providers.readers import explorers, json_rows, nodes
from providers.readers.asked import Asked, Reader
from providers.readers.values import joined

READERS: Final[Mapping[str, Reader]] = {
    "json": json_rows.read_json,
    "etherscan": explorers.read_etherscan,
    "tron": explorers.read_tron_account,
    "jsonrpc": nodes.read_call,
    "rpc_gas": nodes.read_fees,
    "rpc_head": nodes.read_head,
    "rpc_balance": nodes.read_balance,
}
__all__ = ["READERS", "Asked", "Reader", "joined"]
