"""Errors of streams. Each names the exchange, the market where one is known, and the cause."""


class StreamError(Exception):
    """Something is wrong with a stream; `exchange`, and `symbol` where one market is meant."""

    def __init__(self, cause: str, *, exchange: str, symbol: str | None = None) -> None:
        where = exchange if symbol is None else f"{exchange}:{symbol}"
        super().__init__(f"{where}: {cause}")
        self.exchange = exchange
        self.symbol = symbol
        self.cause = cause


class UnreadableMessage(StreamError):
    """A message that is not in the exchange's format; the text is cut."""
