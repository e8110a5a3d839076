"""Which outputs there are, and what each is asked to take."""

import pytest

from config import load_settings
from database import Database
from live.data_types import DataType, DataValidationError
from live.outputs.kinds import OUTPUTS, check_outputs, open_output
from stores.hot.redis_client import NativeStore

ALL = [DataType.TICKER, DataType.TRADE, DataType.ORDERBOOK, DataType.CANDLE]


def test_names_are_checked_and_come_once() -> None:
    assert check_outputs(["redis", "redis"], ALL) == ["redis"]
    assert check_outputs(["postgres", "redis"], ALL[:3]) == ["postgres", "redis"]
    assert check_outputs([], [DataType.BALANCE]) == []


@pytest.mark.parametrize(
    ("names", "kinds", "said"),
    [
        (["kafka"], ALL, "output: 'kafka' is none of redis, postgres"),
        (
            ["redis"],
            [DataType.BALANCE],
            "output redis: takes ticker, trade, orderbook, candle, not",
        ),
        (["redis", "postgres"], ALL, "output postgres: takes ticker, trade, orderbook, not candle"),
    ],
)
def test_what_an_output_does_not_take_is_refused(
    names: list[str], kinds: list[DataType], said: str
) -> None:
    with pytest.raises(DataValidationError, match=said):
        check_outputs(names, kinds)


async def test_every_kind_opens_and_tells_its_status(redis_url: str, database_url: str) -> None:
    store, database = NativeStore(redis_url, client_name="test"), Database(database_url)
    for name in OUTPUTS:
        output = open_output(name, store=store, database=database, settings=load_settings())
        told = output.status()
        counts = {each: told[each] for each in ("queued", "sent", "dropped", "errors")}
        assert counts == dict.fromkeys(counts, 0)
        assert told["last_error"] is None
    await store.aclose()
    await database.aclose()
