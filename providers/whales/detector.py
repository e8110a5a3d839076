"""The detector: which chain's blocks are read how, and from where on."""

from collections.abc import Sequence
from typing import Final

from providers.assets import Assets
from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, ProviderError
from providers.networks import Family, network_of
from providers.questions import Question
from providers.records import WhaleTransfer
from providers.resources import Resource
from providers.rpc.nodes import Nodes
from providers.whales.evm import EvmScan
from providers.whales.scanning import Cursor, Deadline, Prices, Scan

LEAST_USD: Final = 1_000_000


class Whales:
    """One per process. `prices`: of assets, in USD, where they are known."""

    def __init__(self, nodes: Nodes, assets: Assets, prices: Prices) -> None:
        self._nodes = nodes
        self._assets = assets
        self._prices = prices

    async def scan(
        self,
        chain: str,
        cursor: Cursor | None,
        *,
        within_s: float,
        min_usd: int = LEAST_USD,
        rows: Sequence[Resource] = (),
    ) -> Scan:
        """What moved in the blocks after the cursor, as many as there is time for; the blocks of
        the last minutes where there is none. `rows`: of explorers, for chains without nodes.

        Raises NoAnswer and ProviderError where nothing could be read."""
        deadline = Deadline(within_s)
        if network_of(chain).family is Family.EVM:
            scan = EvmScan(self._nodes, chain, self._assets, deadline)
            return await scan.run(cursor, self._prices, min_usd)
        raise InvalidQuestion(f"transfers on {chain} are not read here")

    async def ask(
        self, resource: Resource, question: Question, within_s: float
    ) -> tuple[WhaleTransfer, ...]:
        """For a row of a chain of whales: the transfers of the last blocks, or of those after the
        option `after`. Raises ProviderError."""
        (chain,) = question.subjects
        after = question.option("after")
        try:
            scan = await self.scan(
                *(chain, Cursor(int(after)) if after else None),
                within_s=within_s,
                min_usd=int(question.option("min_usd", str(LEAST_USD))),
                rows=(resource,),
            )
        except NoAnswer as error:
            raise ProviderError(ErrorClass.TRANSIENT, str(error)) from None
        return scan.transfers
