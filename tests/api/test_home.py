"""GET /: its links, each of which works."""

import tomllib
from pathlib import Path

from tests.fixtures.api import ServedApi, ask

ROOT = Path(__file__).resolve().parents[2]


async def test_it_links_to_what_there_is(native_api: ServedApi) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    status, headers, home = await ask(native_api, "GET", "/")
    assert (status, headers["vary"]) == (200, "Accept")
    assert (home["name"], home["version"]) == ("Perpcache", project["version"])
    assert {"/ui/", "/docs", "/cache", "/jobs", "/ready", "/metrics"} <= set(home["links"].values())
    async with native_api.http.get(
        "/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    ) as answer:
        assert answer.url.path == "/ui/"
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.history[0].headers["vary"] == "Accept"
    for path in home["links"].values():
        async with native_api.http.get(path) as answer:
            assert answer.status in (200, 503), path  # no worker, no database


async def test_head(native_api: ServedApi) -> None:
    async with native_api.http.head("/") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
