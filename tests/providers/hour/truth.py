"""What is true on the simulated markets and chains, and which answers are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import aiohttp

from providers.records import Balance, GasPrice, Price, Record, RpcAnswer

# Providers differ by some basis points, and a price moves while it is asked for, or is old and said
# to be so.
_OFF: Final = Decimal("0.05")
_GAS_FACTOR: Final = 50  # fees are judged by their size
_LATE_S: Final = 120.0  # of a head: as long as a node may lag, and an accelerated call may take
BLOCK_S: Final = {"ethereum": 12.0, "bsc": 0.45, "polygon": 2.0, "solana": 0.4}


@dataclass(frozen=True, slots=True)
class Truth:
    http: aiohttp.ClientSession
    url: str

    async def get(self, path: str, **query: str) -> Any:
        async with self.http.get(f"{self.url}/sim/providers{path}", params=query) as answer:
            return await answer.json()

    async def post(self, path: str, body: Any) -> None:
        async with self.http.post(f"{self.url}/sim/providers{path}", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def delete(self, path: str) -> None:
        async with self.http.delete(f"{self.url}/sim/providers{path}") as answer:
            assert answer.status == 200

    async def now_ms(self) -> int:
        return int((await self.get("/truth"))["now_ms"])

    async def prices(self, assets: tuple[str, ...]) -> Mapping[str, Decimal]:
        told = await self.get("/truth", assets=",".join(assets))
        return {name: Decimal(str(price)) for name, price in told["prices"].items()}

    async def wrong(self, chain: str, records: tuple[Record, ...]) -> list[str]:
        """What of an answer is not true."""
        found = []
        assets = tuple(each.asset for each in records if isinstance(each, Price))
        prices = await self.prices(assets) if assets else {}
        for each in records:
            match each:
                case Price():
                    due = prices[each.asset]
                    if abs(each.value / due - 1) > _OFF:
                        found.append(f"{each.provider}: {each.asset} {each.value}, not {due}")
                case GasPrice(chain_id=None):
                    found += await self._wrong_fee(each)
                case GasPrice():
                    found += await self._wrong_gas(each)
                case Balance():
                    told = await self.get(
                        "/truth/chain", chain=chain.partition(".")[2], address=each.address
                    )
                    if str(each.raw) != told["balance"]:
                        found.append(f"{each.provider}: {each.raw}, not {told['balance']}")
                case RpcAnswer():
                    found += await self._wrong_head(chain.partition(".")[2], each)
                case _:
                    pass
        return found

    async def _wrong_fee(self, gas: GasPrice) -> list[str]:
        due = (await self.get("/truth/chain", chain=gas.chain))["fee_sat_per_vb"] * 1000
        fee = gas.fee_standard_sat_per_kvb or 0
        return [] if _near(fee, due) else [f"{gas.provider}: {fee} sat/kvB, not {due}"]

    async def _wrong_gas(self, gas: GasPrice) -> list[str]:
        told = await self.get("/truth/chain", chain=gas.chain)
        due = int(told["base_fee_wei"]) + int(told["priority_wei"])
        fee = (gas.base_fee_wei or 0) + (gas.priority_standard_wei or 0)
        if gas.base_fee_wei is None:  # its provider tells all of it in one
            fee = gas.max_fee_standard_wei or 0
        return [] if _near(fee, due) else [f"{gas.provider}: {fee} wei, not {due}"]

    async def _wrong_head(self, chain: str, answer: RpcAnswer) -> list[str]:
        if answer.stale_since_ms is not None:
            return []
        due = int((await self.get("/truth/chain", chain=chain))["height"])
        height = int(str(answer.result), 0)
        if due - _LATE_S / BLOCK_S[chain] <= height <= due:
            return []
        return [f"{answer.provider}: {chain} is at {height}, not at {due}"]


def _near(fee: float, due: float) -> bool:
    return fee > 0 and max(fee, due) <= _GAS_FACTOR * min(fee, due)
