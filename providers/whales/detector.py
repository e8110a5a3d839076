"""The detector: which chain's blocks are read how, and from where on."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import structlog

from providers.assets import Assets
from providers.errors import ErrorClass, InvalidQuestion, NoAnswer, ProviderError
from providers.gate import Skipped
from providers.members import Member
from providers.networks import Family, Network, network_of
from providers.questions import AGENT_S, Question
from providers.records import WhaleTransfer
from providers.resources import Resource, State
from providers.rpc.facts import facts_of
from providers.rpc.nodes import Nodes
from providers.rpc.racing import ended
from providers.whales.bitcoin import BitcoinScans
from providers.whales.evm import EvmScan
from providers.whales.explorers import Explorers, Sender
from providers.whales.memory import Memory, Window, grown
from providers.whales.scanning import Cursor, Deadline, NotNow, Prices, Scan, newest_first
from providers.whales.tron import TronScan
from stores.hot.store import StoreUnavailable

LEAST_USD: Final = 1_000_000
_WAITED: Final = 0.85  # of a question's time, for a scan to end
_Key = tuple[str, str, int]  # chain, the block after which, the least that counts

log = structlog.get_logger(__name__)


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
        memory: Memory,
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._assets = assets
        self._prices = prices
        self._memory = memory
        self._scans: dict[_Key, asyncio.Task[Scan]] = {}
        self._failed: dict[_Key, NoAnswer] = {}
        self._explorers = Explorers(client)
        self._bitcoin = BitcoinScans(self._explorers)
        # Those of chains without nodes, in the order in which they are asked.
        self._rows = sorted(
            (each for each in resources if each.reader == "own" and each.via is None),
            key=lambda each: each.level,
        )

    async def aclose(self) -> None:
        """Ends the scans that still go on."""
        await ended([scan for scan in self._scans.values()])

    async def scan(
        self,
        chain: str,
        cursor: Cursor | None,
        *,
        within_s: float,
        min_usd: int = LEAST_USD,
        coins: bool = False,
    ) -> Scan:
        """What moved in the blocks after the cursor, as many as there is time for; in those of the
        last minutes where there is no cursor. What other scans have read is not read again. With
        `coins` those of the chain's own coin, too, where a scan does not read them anyway.

        Raises NoAnswer where nothing could be read (NotNow, where those who were asked live), and
        InvalidQuestion for other chains."""
        network, deadline = network_of(chain), Deadline(within_s)
        known = await self._known(network.id, min_usd)
        start, before = cursor, tuple[WhaleTransfer, ...]()
        if known is not None:
            start, before = known.after(cursor, 2 * facts_of(network.id).confirmations)
        try:
            scan = await self._read(network, start, min_usd, deadline)
        except NoAnswer as error:
            if not before:
                raise
            return Scan(network.id, newest_first(before), start, cut=str(error))
        await self._remember(min_usd, known, scan)
        if coins and network.family is Family.EVM:
            begin = scan.first if cursor is None else cursor.block + 1 + scan.skipped
            scan = await self._with_coins(scan, begin, min_usd, deadline)
            await self._remember(min_usd, known, scan)
        first = start.block + 1 if start and scan.first is None else scan.first
        before = tuple(e for e in before if first is None or (e.block or 0) < first)
        found = {(each.tx_hash, each.index): each for each in (*before, *scan.transfers)}
        return replace(scan, transfers=newest_first(list(found.values())))

    async def _with_coins(
        self, scan: Scan, first: int | None, min_usd: int, deadline: Deadline
    ) -> Scan:
        if first is None or scan.cursor is None:
            return scan
        reader = EvmScan(self._nodes, scan.chain, self._assets, deadline)
        found, left = await reader.coins(first, scan.cursor.block, self._prices, min_usd)
        return replace(scan, transfers=(*scan.transfers, *found), coin_left=left)

    async def _read(
        self, network: Network, cursor: Cursor | None, min_usd: int, deadline: Deadline
    ) -> Scan:
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
        """For a row of a chain of whales: the transfers of the last hour's blocks that are known,
        once those are read that were made since; where that takes longer, it goes on, and they are
        given as stale. With the option `after` those of later blocks.

        Raises NoAnswer where nobody answers, and Skipped where nothing is known yet."""
        (name,) = question.subjects
        chain, min_usd = network_of(name).id, int(question.option("min_usd", str(LEAST_USD)))
        after = question.option("after")
        key = chain, after, min_usd
        scan = self._scans.get(key)
        if scan is None:
            cursor = Cursor(int(after)) if after else None
            scan = asyncio.create_task(self.scan(chain, cursor, within_s=AGENT_S, min_usd=min_usd))
            self._scans[key] = scan
            scan.add_done_callback(lambda done: self._scanned(key, done))
        await asyncio.wait((scan,), timeout=_WAITED * within_s)
        known = await self._known(chain, min_usd)
        if scan.done():
            try:
                found = scan.result()
            except NotNow as error:
                raise Skipped("no_time", str(error)) from None
            if found.cut is None or known is None:
                now_ms = self._client.clock.wall_ms()
                return tuple(replace(each, fetched_at_ms=now_ms) for each in found.transfers)
        if known is not None and known.transfers:
            floor = int(after) if after else -1
            return tuple(each for each in known.stale() if (each.block or 0) > floor)
        if (failed := self._failed.get(key)) is not None:
            raise failed
        raise Skipped("no_time", _under_way(chain, known, within_s))

    def _scanned(self, key: "_Key", scan: "asyncio.Task[Scan]") -> None:
        del self._scans[key]
        self._failed.pop(key, None)
        if scan.cancelled():
            return
        error = scan.exception()
        if isinstance(error, NoAnswer) and not isinstance(error, NotNow):
            self._failed[key] = error

    async def known(self, chain: str, min_usd: int) -> Window | None:
        """What was read of the last hour's blocks."""
        return await self._known(network_of(chain).id, min_usd)

    async def _known(self, chain: str, min_usd: int) -> Window | None:
        try:
            return await self._memory.read(chain, min_usd)
        except StoreUnavailable:
            return None  # it is read again

    async def _remember(self, min_usd: int, known: Window | None, scan: Scan) -> None:
        window = grown(known, scan, self._client.clock.wall_ms())
        if window is None or window is known:
            return
        try:
            await self._memory.keep(scan.chain, min_usd, window)
        except StoreUnavailable as error:
            log.warning("whales_not_remembered", chain=scan.chain, error=str(error))

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


def _under_way(chain: str, known: Window | None, within_s: float) -> str:
    far = "no block of it was read yet"
    if known is not None:
        far = f"blocks {known.first} to {known.cursor.block} were read, and have none"
    return f"whales of {chain}: too slow for {within_s:g} s, {far}; reading goes on"
