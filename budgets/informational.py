"""Bounds the informational answers (1xx) that may precede an answer; aiohttp reads any number.

And closes connections on which something follows an answer; aiohttp takes it for the next one.
"""

from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

MOST_INFORMATIONAL: Final = 10  # before one answer; a GET without a body expects none


class TooManyInformational(aiohttp.ClientError):
    """The peer sends 1xx answers instead of an answer."""


class _BoundedConnection(ResponseHandler):
    """A connection that fails after MOST_INFORMATIONAL informational answers in a row, and is
    closed when something comes that no request has asked for.

    Without a bound, a peer that sends them without end keeps the event loop busy past the
    request's deadline: an exchange, or a proxy that is asked for a tunnel. An answer too many,
    while the connection waits for its next request, would be taken for that one's: the candles of
    another market, where answers do not name it.
    """

    _informational = 0
    _awaited = False  # whether a request has no final answer yet

    def set_response_params(self, **options: Any) -> None:
        """Called for each request, before it is sent."""
        self._awaited = True
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        """What comes between the end of an answer and the next request closes the connection."""
        if data and not self._awaited and (self._payload is None or self._payload.is_eof()):
            self.close()
        else:
            super().data_received(data)

    async def read(self) -> Any:
        """The next answer's head and body. Raises TooManyInformational."""
        message, payload = await super().read()
        self._awaited = self._awaited and message.code < 200
        self._informational = self._informational + 1 if message.code < 200 else 0
        if self._informational > MOST_INFORMATIONAL:
            raise TooManyInformational(
                f"more than {MOST_INFORMATIONAL} informational answers (1xx)"
            )
        return message, payload


def bound_informational(connector: aiohttp.BaseConnector) -> None:
    """Bounds them on all connections of the connector, those to proxies included."""
    # A private part: no public one reaches the answers to a proxy's CONNECT.
    made: type[ResponseHandler] = _BoundedConnection
    connector._factory = partial(made, loop=connector._loop)
