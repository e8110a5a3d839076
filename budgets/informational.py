"""Bounds the informational answers (1xx) that may precede an answer; aiohttp reads any number."""

from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

MOST_INFORMATIONAL: Final = 10  # before one answer; a GET without a body expects none


class TooManyInformational(aiohttp.ClientError):
    """The peer sends 1xx answers instead of an answer."""


class _BoundedConnection(ResponseHandler):
    """A connection that fails after MOST_INFORMATIONAL informational answers in a row.

    Without a bound, a peer that sends them without end keeps the event loop busy past the
    request's deadline: an exchange, or a proxy that is asked for a tunnel.
    """

    _informational = 0

    async def read(self) -> Any:
        """The next answer's head and body. Raises TooManyInformational."""
        message, payload = await super().read()
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
