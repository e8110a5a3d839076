"""Errors of connections to exchanges: in words for everybody, and with addresses for the log."""

import os
import socket
import ssl
from collections.abc import Callable
from typing import Final

import aiohttp

from texts.hidden_addresses import without_host, without_ips
from texts.printable import printable

_LONGEST: Final = 200


class ConnectionBroken(aiohttp.ClientError):
    """A broken connection in a form that aiohttp does not retry; `__cause__` is its error."""


async def send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Stops aiohttp from resending a GET on a broken connection, which no budget would count."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionBroken from error


def public_cause(error: BaseException, host: str | None, clean: Callable[[str], str] = str) -> str:
    """What went wrong, without `host`, other addresses and URLs: strangers read it.

    `clean` hides secrets, which a peer may repeat, before the text is cut.
    """
    error = origin_of(error)
    text = clean(_reason(error))
    if host:
        text = without_host(text, host)
    return f"{type(error).__name__}: {printable(without_ips(text[:_LONGEST]))}"


def private_cause(error: BaseException, clean: Callable[[str], str] = str) -> str:
    """What went wrong, with the address that was asked: for the log only. `clean` as above."""
    error = origin_of(error)
    at = getattr(error, "host", None), getattr(error, "port", None)
    where = f"{at[0]}:{at[1]}: " if at[0] else ""
    return printable(f"{type(error).__name__}: {where}{clean(_reason(error))}"[: 2 * _LONGEST])


def origin_of(error: BaseException) -> BaseException:
    """The error itself, without the form that keeps aiohttp from resending."""
    broken = isinstance(error, ConnectionBroken) and error.__cause__ is not None
    return error.__cause__ or error if broken else error


def _reason(error: BaseException) -> str:
    """aiohttp's own text gives the address twice, and names SSL for plain HTTP too."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause: BaseException = error.certificate_error
        return f"the certificate is refused: {getattr(cause, 'verify_message', '') or cause}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {_of_system(error.os_error)}"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"HTTP {error.status} {error.message}"  # its own text has the whole URL
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is not valid"
    return str(error)


def _of_system(error: OSError) -> str:
    if isinstance(error, (socket.gaierror, ssl.SSLError)):
        return error.strerror or str(error)
    return os.strerror(error.errno) if error.errno is not None else str(error)
