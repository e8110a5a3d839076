"""Rows and questions for tests that need one without the registry."""

from typing import Any

from providers.assets import Asset, Assets
from providers.errors import ErrorClass, ProviderError
from providers.questions import Question
from providers.readers.asked import Asked
from providers.readers.table import READERS
from providers.records import Record
from providers.resources import Level, Provider, Resource, State

NOW_MS = 1_790_000_000_000
_EXCHANGES = ("binance_spot", "binance_usdm", "bybit_spot", "bybit_linear", "okx", "kraken")
_COINS = (
    ("btc", "bitcoin", "1", "90", "Bitcoin/0x0000000000000000000000000000000000000000"),
    ("eth", "ethereum", "1027", "80", "Ethereum/0x0000000000000000000000000000000000000000"),
    ("sol", "solana", "5426", "48543", ""),
    ("xrp", "ripple", "52", "58", ""),
)
ASSETS = Assets(
    [
        Asset(
            id=id_,
            name=name,
            symbol=id_.upper(),
            names={
                "symbol": id_.upper(),
                "coingecko": name,
                "defillama": f"coingecko:{name}",
                "coinpaprika": f"{id_}-{name}",
                "coincap": name,
                "messari": name,
                "cmc": cmc,
                "coinlore": coinlore,
                "coinbase": id_.upper(),
                "hyperliquid": id_.upper(),
                **({"dia": dia} if dia else {}),
                **dict.fromkeys(_EXCHANGES, id_.upper()),
            },
        )
        for id_, name, cmc, coinlore, dia in _COINS
    ]
    + [
        Asset(
            id="pepe",
            name="Pepe",
            symbol="PEPE",
            names={"binance_usdm": "1000PEPE", "kraken": "PEPE"},
            multipliers={"binance_usdm": 1000},
        )
    ]
)


def provider(id_: str = "somebody", **fields: Any) -> Provider:
    known: dict[str, Any] = {
        "name": id_,
        "limits": (),
        "attribution": None,
        "attribution_url": None,
        "key": None,
        "errors": (),
        **fields,
    }
    return Provider(id_, **known)


def resource(chain: str, **fields: Any) -> Resource:
    """A row of a chain. `batch` is 100 where the row names its subjects itself."""
    known: dict[str, Any] = {
        "id": f"{chain}/somebody",
        "provider": provider(),
        "level": Level.HIGH,
        "state": State.ALIVE,
        "reason": None,
        "since": None,
        "method": "GET",
        "url": "https://api.example.com/v1",
        **fields,
    }
    return Resource(chain=chain, **known)


def read(row: Resource, body: bytes | str, *subjects: str, **options: str) -> list[Any]:
    """The records that the row's reader makes of a body."""
    asked = Asked(
        resource=row,
        question=Question(row.chain, subjects, tuple(sorted(options.items()))),
        subjects=subjects,
        fetched_at_ms=NOW_MS,
        assets=ASSETS,
    )
    content = body.encode() if isinstance(body, str) else body
    found: list[Record] = READERS[row.reader](content, asked)
    return found


def refusal(row: Resource, body: bytes | str, *subjects: str, **options: str) -> ProviderError:
    """Why the row's reader refuses a body."""
    try:
        found = read(row, body, *subjects, **options)
    except ProviderError as error:
        return error
    raise AssertionError(f"it was read: {found}")


def is_bad(error: ProviderError | None) -> bool:
    return error is not None and error.error_class is ErrorClass.BAD_PAYLOAD
