"""Decimal text of the exchanges' numbers, made from integers."""

from collections.abc import Iterable


def fixed(value: int, decimals: int) -> str:
    """Text with exactly `decimals` decimals. fixed(-5, 2) == "-0.05"."""
    if decimals == 0:
        return str(value)
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).zfill(decimals + 1)
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def plain(value: int, decimals: int) -> str:
    """Text without trailing zeros. plain(4500, 2) == "45"."""
    text = fixed(value, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def fixed_column(values: Iterable[int], decimals: int) -> list[str]:
    """`fixed` for many non-negative values."""
    if decimals == 0:
        return [str(value) for value in values]
    scale, form = 10**decimals, f"%d.%0{decimals}d"
    return [form % divmod(value, scale) for value in values]


def plain_column(values: Iterable[int], decimals: int) -> list[str]:
    """`plain` for many non-negative values."""
    if decimals == 0:
        return [str(value) for value in values]
    return [text.rstrip("0").rstrip(".") for text in fixed_column(values, decimals)]


def rescaled(value: int, decimals: int, wanted: int) -> int:
    """The same number in units of 10^-wanted, rounded down."""
    if wanted >= decimals:
        return int(value * 10 ** (wanted - decimals))
    return int(value // 10 ** (decimals - wanted))
