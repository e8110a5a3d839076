"""The readers by the names under which rows have them.

`json` reads most answers by the paths of the row. Each raises ProviderError where an answer cannot
be believed, and leaves out subjects that the provider does not know.
"""

from collections.abc import Mapping
from typing import Final

from providers.readers import explorers, feeds, json_rows, nodes, transfers, votes
from providers.readers.asked import Reader

READERS: Final[Mapping[str, Reader]] = {
    "json": json_rows.read_json,
    "etherscan": explorers.read_etherscan,
    "rss": feeds.read_feed,
    "tron": explorers.read_tron_account,
    "etherscan_tokentx": transfers.read_token_transfers,
    "tronscan_whales": transfers.read_tronscan,
    "bitquery_whales": transfers.read_bitquery,
    "whale_alert": transfers.read_whale_alert,
    "cryptopanic_votes": votes.read_votes,
    "jsonrpc": nodes.read_call,
    "rpc_gas": nodes.read_fees,
    "rpc_head": nodes.read_head,
    "rpc_balance": nodes.read_balance,
}
