"""Bounds the informational answers (1xx) that may precede an answer; aiohttp reads any number."""

from typing import Any, Final

import aiohttp
from aiohttp.connector import Connection

MOST_INFORMATIONAL: Final = 10  # before one answer; a GET without a body expects none


class TooManyInformational(aiohttp.ClientError):
    """The peer sends 1xx answers instead of an answer."""


class BoundedResponse(aiohttp.ClientResponse):
    """A response that fails after MOST_INFORMATIONAL informational answers.

    Without a bound, a peer that sends them without end keeps the event loop busy until the
    request's deadline.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Reads the status and the header of the answer. Raises TooManyInformational."""
        protocol: Any = connection.protocol
        if protocol is None:
            return await super().start(connection)
        read, informational = protocol.read, 0

        async def read_few() -> Any:
            nonlocal informational
            message, payload = await read()
            informational += message.code < 200
            if informational > MOST_INFORMATIONAL:
                raise TooManyInformational(
                    f"more than {MOST_INFORMATIONAL} informational answers (1xx)"
                )
            return message, payload

        protocol.read = read_few
        try:
            return await super().start(connection)
        finally:
            protocol.read = read
