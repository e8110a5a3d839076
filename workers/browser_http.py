"""BrowserSender: sends the requests of a worker as a browser would, by curl_cffi; optional."""

import re
import ssl
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import quote

from multidict import CIMultiDict

from addresses.proxy import Proxy
from config import Settings
from texts.foreign import foreign_text
from workers.http import MOST_REDIRECTS, Answer, Body, HttpFailed, Request
from workers.plain_http import without_query

if TYPE_CHECKING:
    from curl_cffi.requests import AsyncSession

PACKAGE: Final = "curl_cffi"
_ABORT: Final = 0xFFFFFFFF  # CURL_WRITEFUNC_ERROR: ends the transfer
_CURL_SAYS: Final = re.compile(r"curl: \(\d+\) (.*?)\.? See https?://", re.DOTALL)


class BrowserMissing(Exception):
    """What looks like a browser's request needs a package that is not installed."""


class BrowserSender:
    """A session of one run, which looks like one browser."""

    def __init__(self, settings: Settings, browser: str) -> None:
        """Raises BrowserMissing, or ValueError for a browser that is not known."""
        if find_spec(PACKAGE) is None:
            raise BrowserMissing(
                f"job.http(impersonate={browser[:40]!r}) needs the package {PACKAGE}:"
                " .venv/bin/pip install -r requirements-browser.txt"
            )
        from curl_cffi.requests.impersonate import BrowserTypeLiteral  # 5 MB that few need

        known = get_args(BrowserTypeLiteral)
        if browser not in known:
            usual = "chrome, edge, firefox and safari"
            newest = max(name for name in known if re.fullmatch(r"chrome\d{3}", name))
            raise ValueError(
                f"{browser[:40]!r} is no browser that {PACKAGE} knows: there are {usual}, and"
                f" versions of them such as {newest}"
            )
        self._settings = settings
        self._browser = browser
        self._session: AsyncSession[Any] | None = None

    async def send(self, request: Request) -> Answer:
        from curl_cffi.requests.exceptions import RequestException

        body = Body(request)
        proxy = self._settings.usual_proxy(without_query(request.url))
        method: Any = request.method  # curl's list of them is a type
        try:
            answer = await self._opened().request(
                method,
                request.url,
                headers=dict(request.headers),
                content=request.body,
                max_redirects=MOST_REDIRECTS,
                proxy=None if proxy is None else _proxy_url(proxy),
                content_callback=lambda piece: len(piece) if body.add(piece) else _ABORT,
            )
        except (RequestException, OSError, ValueError) as error:
            body.whole()  # where it was too large, that is why
            raise HttpFailed(f"{request.host}: {_cause(error, request, proxy)}") from None
        headers = CIMultiDict((name, value or "") for name, value in answer.headers.multi_items())
        return Answer(answer.status_code, headers, body.whole(), str(answer.url))

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> "AsyncSession[Any]":
        if self._session is None:
            from curl_cffi.requests import AsyncSession

            # The authorities that aiohttp trusts; SSL_CERT_FILE names others.
            authorities: Any = ssl.get_default_verify_paths().cafile or True
            self._session = AsyncSession(
                impersonate=self._browser,
                trust_env=False,  # the settings know of proxies
                verify=authorities,
                timeout=0,  # the deadline is the caller's
            )
        return self._session


def _proxy_url(proxy: Proxy) -> str:
    if proxy.username is None and proxy.password is None:
        return proxy.url
    user, password = (quote(part or "", safe="") for part in (proxy.username, proxy.password))
    return f"{proxy.scheme}://{user}:{password}@{proxy.place}"


def _cause(error: Exception, request: Request, proxy: Proxy | None) -> str:
    """What went wrong, in curl's words without its advice, and without secrets."""
    found = _CURL_SAYS.search(str(error))
    text = request.clean.clean(found[1] if found else str(error))
    for secret in (proxy.username, proxy.password) if proxy is not None else ():
        text = text.replace(secret, "***") if secret else text
    return f"{type(error).__name__}: {foreign_text(text, 200)}"
