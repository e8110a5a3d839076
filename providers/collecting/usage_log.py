"""What was used of the limits of days and months, on its way into the table rate_limit_usage."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from providers.account import Account
from providers.budget import DAY_S, began_ms, quantity_of
from providers.resources import Resource
from stores.cold.providers.conduct import ProviderConduct, UsageRow
from timing.clock import now_ms


class Budgets(Protocol):
    """providers.gate.Gate."""

    async def rooms(self, accounts: Sequence[Account]) -> list[dict[int, int]]: ...


class Accounts(Protocol):
    """providers.client.Client."""

    def account(self, resource: Resource) -> Account: ...


class UsageLog:
    """`fraction`: RATE_FRACTION, of which share the limits are used."""

    def __init__(
        self, accounts: Accounts, budgets: Budgets, conduct: ProviderConduct, fraction: float
    ) -> None:
        self._accounts = accounts
        self._budgets = budgets
        self._conduct = conduct
        self._fraction = fraction

    async def store(self, resources: Iterable[Resource]) -> None:
        """Stores how much of their accounts' long limits is used. Raises StoreUnavailable and
        DatabaseUnavailable."""
        accounts = {}
        for resource in resources:
            if any(limit.window_s >= DAY_S for limit in resource.provider.limits):
                account = self._accounts.account(resource)
                accounts[account.account_key] = account
        if not accounts:
            return
        now = now_ms()
        rooms = await self._budgets.rooms(list(accounts.values()))
        await self._conduct.put_usage(
            [
                UsageRow(
                    provider=account.resource.provider.id,
                    key="none" if account.key is None else account.fingerprint,
                    window_s=limit.window_s,
                    window_start_ms=began_ms(limit.window_s, now),
                    used=quantity_of(limit, self._fraction) - left[limit.window_s],
                    quantity=quantity_of(limit, self._fraction),
                    changed_at_ms=now,
                )
                for account, left in zip(accounts.values(), rooms, strict=True)
                for limit in account.resource.provider.limits
                if limit.window_s >= DAY_S
            ]
        )
