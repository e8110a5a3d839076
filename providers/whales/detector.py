"""The detector: which chain's blocks are read how, and from where on."""

from collections.abc import Sequence
from typing import Final, Protocol

from providers.assets import Assets
from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, ProviderError
from providers.gate import Skipped
from providers.members import Member
from providers.networks import Family, network_of
from providers.questions import Question
from providers.records import WhaleTransfer
from providers.resources import Resource, State
from providers.rpc.nodes import Nodes
from providers.whales.bitcoin import BitcoinScans
from providers.whales.evm import EvmScan
from providers.whales.explorers import Explorers, Sender
from providers.whales.scanning import Cursor, Deadline, Prices, Scan
from providers.whales.tron import TronScan
from stores.hot.store import StoreUnavailable

LEAST_USD: Final = 1_000_000


class Asking(Sender, Protocol):
    """What is needed of providers.client."""

    async def look(self, resources: Sequence[Resource]) -> Sequence[Member]: ...


class Whales:
    """One per process. `prices`: of assets, in USD, where they are known."""

    def __init__(
        self,
        client: Asking,
        nodes: Nodes,
        resources: Sequence[Resource],
        assets: Assets,
        prices: Prices,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._assets = assets
        self._prices = prices
        self._explorers = Explorers(client)
        self._bitcoin = BitcoinScans(self._explorers)
        # Those of chains without nodes, in the order in which they are asked.
        self._rows = sorted(
            (each for each in resources if each.reader == "own" and each.via is None),
            key=lambda each: each.level,
        )

    async def scan(
        self, chain: str, cursor: Cursor | None, *, within_s: float, min_usd: int = LEAST_USD
    ) -> Scan:
        """What moved in the blocks after the cursor, as many as there is time for; in those of the
        last minutes where there is no cursor.

        Raises NoAnswer where nothing could be read, and InvalidQuestion for other chains."""
        deadline = Deadline(within_s)
        network = network_of(chain)
        try:
            match network.family:
                case Family.EVM:
                    scan = EvmScan(self._nodes, network.id, self._assets, deadline)
                    return await scan.run(cursor, self._prices, min_usd)
                case Family.BITCOIN:
                    rows = await self._allowed(network.id)
                    return await self._bitcoin.run(rows, cursor, self._prices, min_usd, deadline)
                case Family.TRON:
                    return await self._tron(network.id, cursor, min_usd, deadline)
        except (ProviderError, Skipped) as error:
            raise NoAnswer(f"whales of {network.id}: {error}", ()) from None
        raise InvalidQuestion(f"transfers on {network.id} are not read here")

    async def ask(self, question: Question, within_s: float) -> tuple[WhaleTransfer, ...]:
        """For a row of a chain of whales: the transfers of the last blocks, or of those after the
        option `after`. Raises NoAnswer."""
        (chain,) = question.subjects
        after = question.option("after")
        scan = await self.scan(
            *(chain, Cursor(int(after)) if after else None),
            within_s=within_s,
            min_usd=int(question.option("min_usd", str(LEAST_USD))),
        )
        return scan.transfers

    async def _tron(
        self, chain: str, cursor: Cursor | None, min_usd: int, deadline: Deadline
    ) -> Scan:
        for row in await self._allowed(chain):
            scan = TronScan(self._explorers, row, self._assets, deadline)
            return await scan.run(cursor, self._prices, min_usd)
        raise ProviderError(ErrorClass.UNKNOWN, "nobody may be asked")

    async def _allowed(self, chain: str) -> list[Resource]:
        """The rows that may be asked: as they say, or as they were switched."""
        rows = [each for each in self._rows if each.chain == f"whales.{chain}"]
        try:
            members = await self._client.look(rows)
        except StoreUnavailable:
            return [row for row in rows if row.state is State.ALIVE]
        return [
            row
            for row, member in zip(rows, members, strict=True)
            if (row.state is State.ALIVE if member.switched is None else member.switched)
        ]
