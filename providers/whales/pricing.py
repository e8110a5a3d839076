"""The prices that transfers are valued by: ours, as the chain of aggregates answers now."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from providers.assets import Assets, UnknownAsset
from providers.errors import InvalidQuestion, NoAnswer
from providers.questions import Question
from providers.records import Price
from providers.whales.scanning import Priced

if TYPE_CHECKING:
    from providers.chain import Chains

_WITHIN_S: Final = 5.0


async def usd_prices(
    chains: "Chains", assets: Assets, asset_ids: Collection[str]
) -> dict[str, Priced]:
    """Of the assets that have a price; none where nobody answers."""
    known = tuple(sorted(id_ for id_ in asset_ids if _is_known(assets, id_)))
    question = Question("price.aggregate", known, (("quote", "usd"),))
    try:
        answer = await chains.ask(question, _WITHIN_S)
    except (NoAnswer, InvalidQuestion, KeyError):
        return {}
    return {
        record.asset: Priced(record.value, record.resource)
        for record in answer.records
        if isinstance(record, Price)
    }


def _is_known(assets: Assets, id_: str) -> bool:
    try:
        return assets.find(id_).id == id_
    except UnknownAsset:
        return False
