"""/console: who gets in, what may change something, and that its pages ask nobody else."""

import hashlib
import re
from base64 import b64encode
from pathlib import Path
from typing import Final

import pgqueuer
import pytest

from api.workers.console import INLINE_HASHES
from tests.api.workers.test_workers import change
from tests.fixtures.api import NO_DATABASE, ServedApi, StartApi, get
from tests.fixtures.chromium import Chromium
from tests.fixtures.controlled_workers import API_TOKEN

PAGES: Final = ("", "entrypoints", "jobs", "failures", "workers", "schedules", "system")
TEMPLATES: Final = Path(pgqueuer.__file__).parent / "adapters" / "web" / "templates"


def basic(password: str, user: str = "operator") -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


WITH_PASSWORD: Final = basic(API_TOKEN)


async def test_every_page_behind_the_password(controlled_api: ServedApi) -> None:
    async with controlled_api.http.get(
        "/console", headers={"Authorization": WITH_PASSWORD}, allow_redirects=False
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "console/")
    for page in PAGES:
        status, headers, body = await get(
            controlled_api, f"/console/{page}", Authorization=WITH_PASSWORD
        )
        assert status == 200, page
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        links = re.findall(rb'(?:href|src|action|hx-get|hx-post)="([^"]+)"', body)
        own = f"http://127.0.0.1:{controlled_api.port}/console/".encode()
        assert links and all(link.startswith((own, b"/console/")) for link in links), links


async def test_who_does_not_get_in(controlled_api: ServedApi) -> None:
    wrong = (
        *("", "Basic", "Basic !", f"Bearer {API_TOKEN}", basic("wrong"), basic(API_TOKEN + "x")),
        *(basic(""), basic("t0ke"), f"Basic {b64encode(API_TOKEN.encode()).decode()}"),
    )
    for path in ("/console", "/console/", "/console/jobs", "/console/static/htmx.min.js"):
        for value in wrong:
            for method in ("GET", "HEAD", "POST", "DELETE"):
                status, headers, body = await get(controlled_api, path, method, Authorization=value)
                assert status == 401, (path, value)
                assert headers["www-authenticate"].startswith("Basic realm=")
                assert API_TOKEN.encode() not in body
    assert (await get(controlled_api, "/console/"))[0] == 401
    for user in ("", "anybody", "a b"):
        status, _, _ = await get(controlled_api, "/console/", Authorization=basic(API_TOKEN, user))
        assert status == 200


async def test_it_is_off_without_a_token_or_schedules(
    start_api: StartApi, redis_url: str, database_url: str
) -> None:
    for settings, why in (
        ({"schedules": "on"}, "API_TOKEN"),
        ({"api_token": API_TOKEN}, "SCHEDULES"),
    ):
        api = await start_api(redis_url=redis_url, dsn=database_url, **settings)
        for path in ("/console", "/console/jobs"):
            status, _, body = await get(api, path, Authorization=WITH_PASSWORD)
            assert (status, why.encode() in body) == (404, True)


async def test_pages_of_others_change_nothing(controlled_api: ServedApi) -> None:
    own = f"http://127.0.0.1:{controlled_api.port}"
    for headers, expected in (
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"{own}.evil.example"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Referer": "https://evil.example/console/"}, 403),
        ({"Origin": "https://evil.example", "Referer": f"{own}/console/"}, 403),
        ({"Origin": own, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": own}, 204),
        ({"Referer": f"{own}/console/jobs"}, 204),
    ):
        async with controlled_api.http.post(
            "/console/jobs/999/cancel", headers={"Authorization": WITH_PASSWORD, **headers}
        ) as answer:
            assert answer.status == expected, headers


async def test_hostile_requests(controlled_api: ServedApi) -> None:
    own = f"http://127.0.0.1:{controlled_api.port}"
    for path, expected in (
        ("jobs/999999999999999999999999", (404, 422, 503)),
        ("jobs/x", (422,)),
        ("jobs?page=-1&status='--&entrypoint=%00", (200, 503)),
        ("jobs?page=99999999999999999999", (200, 422, 503)),
        ("static/..%2f..%2fapp.py", (404,)),
        ("static/x.js", (404,)),
        ("jobs/goto?id=../../evil", (307,)),
        ("openapi.json", (404,)),
    ):
        async with controlled_api.http.get(
            f"/console/{path}", headers={"Authorization": WITH_PASSWORD}, allow_redirects=False
        ) as answer:
            assert answer.status in expected, path
            body = await answer.read()
            assert b"Traceback" not in body and b"asyncpg" not in body
            assert answer.headers.get("Location", own).startswith(own)
    posted = {"Authorization": WITH_PASSWORD, "Origin": own}
    for data, expected_status in ((b"ids=x", 409), (b"ids=1", 409), (b"x" * 70_000, 413)):
        async with controlled_api.http.post(
            "/console/jobs/requeue", data=data, headers=posted
        ) as answer:
            assert answer.status == expected_status, data[:10]


async def test_a_database_that_is_away(start_api: StartApi, redis_url: str) -> None:
    api = await start_api(redis_url=redis_url, dsn=NO_DATABASE, api_token=API_TOKEN, schedules="on")
    for page in PAGES:
        status, _, body = await get(api, f"/console/{page}", Authorization=WITH_PASSWORD)
        assert (status, b"the database" in body, b"127.0.0.1" in body) == (503, True, False)


def test_the_scripts_in_its_pages_are_those_that_may_run() -> None:
    """A new version of the package may have others: look at them, then allow them."""
    found = set()
    for file in TEMPLATES.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        scripts += re.findall(r'\son[a-z]+="([^"]*)"', text)
        assert not [each for each in scripts if "{{" in each or "{%" in each], file
        found |= {hashlib.sha256(each.encode()).digest() for each in scripts}
    assert {f"sha256-{b64encode(each).decode()}" for each in found} == set(INLINE_HASHES)


async def test_a_real_browser_opens_it(controlled_api: ServedApi, chromium: Chromium) -> None:
    _, asked = await change(controlled_api, "POST", "workers/waits/run")
    own = f"http://127.0.0.1:{controlled_api.port}/console/"
    async with chromium.tab(API_TOKEN) as tab:
        for page in PAGES:
            assert await tab.goto(f"{own}{page}") == 200, page
            assert await tab.run("typeof htmx") == "object"
        assert tab.logins == 1
        # Its own script runs, and a handler in a page, too.
        await tab.run("document.querySelector('select.theme').value = 'dark'")
        await tab.run("document.querySelector('select.theme').dispatchEvent(new Event('change'))")
        assert await tab.run("document.documentElement.dataset.theme") == "dark"
        # A job is cancelled as an operator does it: from the list to its page, by its button.
        assert await tab.goto(f"{own}jobs") == 200
        link = await tab.until("document.querySelector('#jobs-results a').href")
        assert await tab.goto(link) == 200
        assert "q:slow" in await tab.run("document.body.innerText")
        await tab.run("document.querySelector('button.danger').click()")
        await tab.until(
            "document.readyState === 'complete' && !document.querySelector('button.danger')"
        )
        server = own.removesuffix("console/")
        browsers = f"{server}favicon.ico"  # which browsers ask for by themselves
        others = [url for url in tab.requested if not url.startswith(own) and url != browsers]
        assert not others
        assert [each for each in tab.complaints if browsers not in each] == []
        # A script that is put into the page does not run.
        await tab.run(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'window.evil = true'}))"
        )
        assert await tab.run("window.evil") is None
        assert any("Content Security Policy" in each for each in tab.complaints)
    assert asked["worker"] == "waits"


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_browser_without_the_token_sees_nothing(
    controlled_api: ServedApi, chromium: Chromium, password: str | None
) -> None:
    async with chromium.tab(password) as tab:
        assert await tab.goto(f"http://127.0.0.1:{controlled_api.port}/console/jobs") == 401
        assert "API_TOKEN as the password" in await tab.run("document.body.innerText")
        assert tab.logins >= 1
