"""Integers as the exchanges' decimal text, and rows of candles as wire bytes."""

from collections.abc import Iterable

from simulator.candles import Ints


def fixed(value: int, decimals: int) -> str:
    """Binance's way: always the same number of decimals. fixed(-5, 2) == "-0.05"."""
    if decimals == 0:
        return str(value)
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).zfill(decimals + 1)
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def plain(value: int, decimals: int) -> str:
    """Bybit's way: no trailing zeros. plain(4500, 2) == "45"."""
    text = fixed(value, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def fixed_column(values: Iterable[int], decimals: int) -> list[str]:
    """`fixed` for many values that are not negative."""
    if decimals == 0:
        return [str(value) for value in values]
    scale, form = 10**decimals, f"%d.%0{decimals}d"
    return [form % divmod(value, scale) for value in values]


def plain_column(values: Iterable[int], decimals: int) -> list[str]:
    """`plain` for many values that are not negative."""
    if decimals == 0:
        return [str(value) for value in values]
    return [text.rstrip("0").rstrip(".") for text in fixed_column(values, decimals)]


def rescaled(value: int, decimals: int, wanted: int) -> int:
    """The same number in units of 10^-wanted; digits beyond are cut."""
    if wanted >= decimals:
        return int(value * 10 ** (wanted - decimals))
    return int(value // 10 ** (decimals - wanted))


def binance_klines(
    candles: Ints, interval_ms: int, price_decimals: int, quantity_decimals: int
) -> list[bytes]:
    """One JSON array of 12 for each candle, with a comma behind it."""
    times, o, h, low, c, v, q, n, tv, tq = candles.tolist()
    both = price_decimals + quantity_decimals
    prices = (fixed_column(column, price_decimals) for column in (o, h, low, c))
    volumes = fixed_column(v, quantity_decimals), fixed_column(tv, quantity_decimals)
    turnovers = fixed_column(q, both), fixed_column(tq, both)
    span = interval_ms - 1
    return [
        f'[{t},"{o}","{h}","{low}","{c}","{v}",{t + span},"{q}",{n},"{tv}","{tq}","0"],'.encode()
        for t, o, h, low, c, v, q, n, tv, tq in zip(
            times, *prices, volumes[0], turnovers[0], n, volumes[1], turnovers[1], strict=True
        )
    ]


def bybit_klines(candles: Ints, price_decimals: int, quantity_decimals: int) -> list[bytes]:
    """One JSON array of 7 strings for each candle, with a comma behind it."""
    times, o, h, low, c, v, q = candles[:7].tolist()
    prices = (plain_column(column, price_decimals) for column in (o, h, low, c))
    volumes = plain_column(v, quantity_decimals)
    turnovers = plain_column(q, price_decimals + quantity_decimals)
    return [
        f'["{t}","{o}","{h}","{low}","{c}","{v}","{q}"],'.encode()
        for t, o, h, low, c, v, q in zip(times, *prices, volumes, turnovers, strict=True)
    ]
