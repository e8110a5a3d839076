"""Probes that somebody asks for: how one resource took a small question, and what follows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from providers.client import Client
from providers.errors import ProviderError
from providers.gate import Skipped
from providers.probes import Probes
from providers.records import Record
from providers.resources import Resource, State
from stores.cold.providers.conduct import ProviderConduct

_OWN: Final = "own"  # detection of transfers (providers/whales)


@dataclass(frozen=True, slots=True)
class Probed:
    """How one resource took its probe. `turned_on`: it was off, and is asked from now on; what an
    operator has disabled stays so."""

    resource: Resource
    error: str | None
    ms: int
    records: Sequence[Record] = ()
    turned_on: bool = False


class Prober:
    """`by`: who has asked for the probes, as the table of switches says."""

    def __init__(self, probes: Probes, client: Client, conduct: ProviderConduct, by: str) -> None:
        self._client = client
        self._probes = probes
        self._conduct = conduct
        self._by = by

    async def probe(self, resource: Resource, *, wait_s: float) -> Probed:
        """Waits once for the provider's budget, if that is back within `wait_s`. Raises
        StoreUnavailable, and DatabaseUnavailable where it was to be turned on."""
        began_s = time.monotonic()
        try:
            records = await self._probe(resource, wait_s)
        except ProviderError as error:
            return Probed(resource, f"{error.error_class}: {error}", _ms_since(began_s))
        except Skipped as skipped:
            return Probed(resource, f"not asked: {skipped}", _ms_since(began_s))
        ms = _ms_since(began_s)
        turned_on = (
            resource.state is State.OFF
            and resource.probe
            and await self._conduct.turn_on(
                resource.id, at_ms=self._client.clock.wall_ms(), by=self._by
            )
        )
        if turned_on:
            await self._client.gate.switch(resource.id, True)
        return Probed(resource, None, ms, records, turned_on)

    async def _probe(self, resource: Resource, wait_s: float) -> list[Record]:
        if resource.state is State.DEAD:
            raise Skipped("off", resource.reason or "it is dead")
        if resource.reader == _OWN:
            raise Skipped(
                "off", "it reads whole blocks; probe what it asks: nodes, mempool, trongrid"
            )
        try:
            return await self._probes.probe(resource)
        except Skipped as skipped:
            left_s = ((skipped.until_ms or 0) - self._client.clock.wall_ms()) / 1000
            if skipped.reason != "no_budget" or not 0 < left_s <= wait_s:
                raise
            await self._client.clock.sleep(left_s)
            return await self._probes.probe(resource)


def _ms_since(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1000)
