"""The HTTP clients of workers against local servers: both kinds answer alike, and one of them looks
like a browser."""

import asyncio
import gzip
import shutil
import ssl
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from config import load_settings
from tests.fixtures.proxies import certificate
from tests.workers.local_http import Served, serving
from workers import browser_http
from workers.browser_http import BrowserMissing
from workers.http import Http, HttpFailed, HttpStatus
from workers.http_clients import HttpClients

BROWSER = pytest.param(
    "chrome", marks=pytest.mark.skipif(find_spec("curl_cffi") is None, reason="needs curl_cffi")
)
EACH = pytest.mark.parametrize("browser", [None, BROWSER])


def application() -> web.Application:
    app = web.Application()

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="ổn", charset="utf-16-le", headers={"X-Kind": "page"})

    async def echo(request: web.Request) -> web.Response:
        body = await request.text()
        return web.json_response(
            {"body": body, "type": request.content_type, "query": dict(request.query)}
        )

    async def wrong(request: web.Request) -> web.Response:
        return web.Response(status=503, text="down \x1b[31m for now")

    async def hang(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def big(request: web.Request) -> web.Response:
        body = gzip.compress(b"0" * 2_000_000)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    async def login(request: web.Request) -> web.Response:
        answer = web.Response(status=302, headers={"Location": "/who"})
        answer.set_cookie("user", "ann")
        return answer

    async def who(request: web.Request) -> web.Response:
        return web.Response(text=request.cookies.get("user", "nobody"))

    async def loop(request: web.Request) -> web.Response:
        raise web.HTTPFound("/loop")

    async def broken(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app.router.add_get("/page", page)
    app.router.add_route("*", "/echo", echo)
    for name, handler in {
        "wrong": wrong, "hang": hang, "big": big, "login": login, "who": who, "loop": loop,
        "broken": broken,
    }.items():  # fmt: skip
        app.router.add_get(f"/{name}", handler)
    return app


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(application()) as found:
        # Names have cookies, addresses have none.
        found.url = found.url.replace("127.0.0.1", "localhost")
        yield found


@pytest.fixture
async def clients(served: Served) -> AsyncIterator[HttpClients]:
    async with HttpClients(load_settings()) as found:
        yield found


@EACH
async def test_an_answer_has_status_headers_text_and_json(
    served: Served, clients: HttpClients, browser: str | None
) -> None:
    http = clients.client(browser)
    page = await http.get(f"{served.url}/page")
    assert (page.status, page.ok, page.text) == (200, True, "ổn")
    assert page.headers["x-KIND"] == "page" and page.content == "ổn".encode("utf-16-le")
    assert page.url == f"{served.url}/page" and page.raise_for_status() is page
    with pytest.raises(ValueError, match="status 200, no JSON"):
        page.json()
    assert clients.client(browser) is http


@EACH
async def test_parameters_and_bodies_are_sent(
    served: Served, clients: HttpClients, browser: str | None
) -> None:
    http, url = clients.client(browser), f"{served.url}/echo"
    asked = await http.get(f"{url}?a=1", params={"b": "x y&", "c": [1]}, headers={"X-Own": "2"})
    assert asked.json()["query"] == {"a": "1", "b": "x y&", "c": "1"}
    assert served.requests[-1].headers["X-Own"] == "2"
    for method in (http.post, http.put, http.patch, http.delete):
        sent = await method(url, json={"rows": [1, "ổn"]})
        assert sent.json() == {
            "body": '{"rows": [1, "\\u1ed5n"]}',
            "type": "application/json",
            "query": {},
        }
    form = await http.post(url, data={"name": "a b"})
    assert form.json()["body"] == "name=a+b"
    assert form.json()["type"] == "application/x-www-form-urlencoded"
    own = await http.post(url, data="<x/>", headers={"content-type": "text/xml"})
    assert (own.json()["body"], own.json()["type"]) == ("<x/>", "text/xml")
    assert (await http.head(url)).content == b""
    with pytest.raises(ValueError, match="exclude"):
        await http.post(url, json={}, data=b"")


@EACH
async def test_the_status_is_the_callers_to_judge(
    served: Served, clients: HttpClients, browser: str | None
) -> None:
    answer = await clients.client(browser).get(f"{served.url}/wrong?key=hidden")
    assert answer.status == 503 and not answer.ok
    with pytest.raises(HttpStatus) as raised:
        answer.raise_for_status()
    assert raised.value.status == 503
    assert str(raised.value) == "localhost: status 503: 'down [31m for now'"


@EACH
async def test_what_gets_no_answer_fails_with_host_and_cause(
    served: Served, clients: HttpClients, browser: str | None
) -> None:
    http = clients.client(browser)
    with pytest.raises(HttpFailed, match=r"^localhost: no answer within 0\.2 s$"):
        await http.get(f"{served.url}/hang", timeout=0.2)
    with pytest.raises(HttpFailed, match=r"^localhost: the answer has more than 1000 bytes$"):
        await http.get(f"{served.url}/big", largest=1000)
    assert len((await http.get(f"{served.url}/big", largest=2_000_000)).content) == 2_000_000
    with pytest.raises(HttpFailed, match=r"(?i)^localhost: .*redirects"):
        await http.get(f"{served.url}/loop")
    with pytest.raises(HttpFailed, match=r"^localhost: "):
        await http.get(f"{served.url}/broken")
    with pytest.raises(HttpFailed, match=r"(?i)^127\.0\.0\.1: .*connect") as raised:
        await http.get("http://ann:hunter22@127.0.0.1:1/?token=hidden55")
    assert "hunter22" not in str(raised.value) and "hidden55" not in str(raised.value)


@EACH
async def test_cookies_stay_for_the_run(
    served: Served, clients: HttpClients, browser: str | None
) -> None:
    http = clients.client(browser)
    assert (await http.get(f"{served.url}/login")).text == "ann"
    assert (await http.get(f"{served.url}/who")).text == "ann"
    async with HttpClients(load_settings()) as others:
        assert (await others.client(browser).get(f"{served.url}/who")).text == "nobody"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("ftp://localhost/", {}),
        ("localhost/x", {}),
        ("http://", {}),
        ("http://[x/", {}),
        ("http://localhost:x/", {}),
        ("http://localhost/", {"headers": {"X": "a\r\nY: b"}}),
    ],
)
async def test_what_cannot_be_sent_is_refused(
    clients: HttpClients, url: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"address must begin|control character"):
        await clients.client(None).get(url, **options)


@EACH
async def test_proxies_are_those_of_the_settings(
    served: Served, browser: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain request through an HTTP proxy names the whole address; the test's server is both."""
    place = served.url.replace("localhost", "127.0.0.1").replace("http://", "http://ann:s3cr3t@")
    monkeypatch.setenv("HTTP_PROXY", place)
    monkeypatch.setenv("NO_PROXY", "localhost")
    async with HttpClients(load_settings()) as clients:
        http: Http = clients.client(browser)
        assert (await http.get("http://funds.example.com/page")).text == "ổn"
        asked = served.requests[-1]
        assert asked.headers["Host"] == "funds.example.com"
        assert asked.headers["Proxy-Authorization"].startswith("Basic ")
        await http.get(f"{served.url}/page")
        assert "Proxy-Authorization" not in served.requests[-1].headers


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
@pytest.mark.skipif(find_spec("curl_cffi") is None, reason="needs curl_cffi")
async def test_a_tls_listener_sees_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    # aiohttp reads the authorities once, when it is imported.
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", client)
    async with (
        serving(application(), server, "localhost") as served,
        HttpClients(load_settings()) as clients,
    ):
        for browser in (None, "chrome", "firefox"):
            page = await clients.client(browser).get(f"{served.url}/page")
            assert page.text == "ổn"
    plain, chrome, firefox = served.hellos
    assert not plain.has_grease and "h2" not in plain.alpn
    assert chrome.has_grease and chrome.alpn == ["h2", "http/1.1"]
    assert firefox.alpn == ["h2", "http/1.1"] and firefox.ciphers != chrome.ciphers
    agents = [request.headers["User-Agent"] for request in served.requests]
    assert agents[0] == "perpcache"
    assert "Chrome/" in agents[1] and "Firefox/" in agents[2]
    # Chrome offers the brotli coding and says which browser it is in headers of its own.
    assert "sec-ch-ua" in served.requests[1].headers
    assert ssl.HAS_TLSv1_3 and 43 in chrome.extensions  # supported_versions


@EACH
async def test_a_certificate_of_nobody_is_refused(tmp_path: Path, browser: str | None) -> None:
    server, _ = certificate(tmp_path, "localhost")
    async with (
        serving(application(), server, "localhost") as served,
        HttpClients(load_settings()) as clients,
    ):
        with pytest.raises(HttpFailed, match=r"(?i)^localhost: .*certificate"):
            await clients.client(browser).get(f"{served.url}/page")
        assert served.requests == []


def test_a_browser_without_the_package_names_the_requirements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(browser_http, "find_spec", lambda name: None)
    with pytest.raises(BrowserMissing, match=r"curl_cffi: .*requirements-browser\.txt"):
        HttpClients(load_settings()).client("chrome")


@pytest.mark.skipif(find_spec("curl_cffi") is None, reason="needs curl_cffi")
def test_an_unknown_browser_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"'lynx' is no browser .* chrome, edge, firefox and safari"
    ):
        HttpClients(load_settings()).client("lynx")


def test_requirements_name_what_is_needed() -> None:
    """The message's file exists, and pins the package."""
    root = Path(__file__).resolve().parents[2]
    assert "curl-cffi==" in (root / "requirements-browser.txt").read_text().replace("_", "-")
