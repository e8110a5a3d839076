"""client/README.md, run with the built wheel in an environment that has what the wheel asks for."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path
from typing import Final

import pytest
import uv
from packaging.requirements import Requirement

from tests.client.rows import AS_OF_MS, document
from tests.docs.blocks import ROOT, Block, claim
from tests.fixtures.api import ServedApi
from tests.fixtures.overviews import NOW, document_of, told
from tests.fixtures.service import ServiceSettings, StartService
from tests.fixtures.simulator import StartSimulator

README: Final = "client/README.md"
INSTALL: Final = claim(README, "pip install client/dist")
TABLE: Final = claim(README, 'perpcache.table("4h", closed=True, limit=200)')
FRAMES: Final = claim(README, "import duckdb")
WATCH: Final = claim(README, "    for table in perpcache.watch")
WATCH_OVERVIEW: Final = claim(README, "for overview in perpcache.watch_overview")
WATCH_ASYNC: Final = claim(README, "async for table in perpcache.watch")
REST: Final = claim(README, 'perpcache.collect("1h")')
SHELL: Final = claim(README, "export PERPCACHE_URL")
# What the blocks import beside it, of which the wheel asks for nothing.
OPTIONAL: Final = ("duckdb", "pandas", "polars")
ADDRESS: Final = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with sdist and wheel, as `make client` builds them; without the network."""
    folder = tmp_path_factory.mktemp("dist")
    ran(uv.find_uv_bin(), "build", "--offline", "--quiet", ROOT / "client", "--out-dir", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    name = shlex.split(INSTALL.text)[-1].rpartition("/")[2]
    assert (built / name).is_file()
    return built / name


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it asks for, and nothing else."""
    return environment(tmp_path_factory.mktemp("empty"), wheel, ())


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the packages that are optional."""
    return environment(tmp_path_factory.mktemp("full"), wheel, OPTIONAL)


def ran(*words: str | Path) -> None:
    subprocess.run(words, check=True, timeout=120)  # noqa: S603 - our own words


def environment(folder: Path, wheel: Path, more: Iterable[str]) -> Path:
    """The programs' folder. Packages are those of the tests' own environment, linked: the wheel's
    requirements, theirs in turn, and `more`. What it does not ask for is not found."""
    ran(sys.executable, "-m", "venv", "--without-pip", folder)
    words = ("pip", "install", "--offline", "--quiet", "--no-deps", "--python")
    ran(uv.find_uv_bin(), *words, folder / "bin" / "python", wheel)
    site = next(folder.glob("lib/python*/site-packages"))
    own = PathDistribution(next(site.glob("perpcache_client-*.dist-info")))
    for found in closure(own, more):
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(str(found.locate_file(top)))
    return folder / "bin"


def closure(own: Distribution, more: Iterable[str]) -> Iterator[Distribution]:
    """All that this distribution and `more` need; extras are not followed."""
    left, seen = [*asked_by(own), *more], set[str]()
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            yield (found := distribution(name))
            left += asked_by(found)


def asked_by(found: Distribution) -> Iterator[str]:
    for text in found.requires or ():
        asked = Requirement(text)
        if asked.marker is None or asked.marker.evaluate({"extra": ""}):
            yield asked.name


@asynccontextmanager
async def started(
    *words: str | Path, folder: Path, url: str = ADDRESS
) -> AsyncIterator[asyncio.subprocess.Process]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        cwd=folder,
        env={**kept, "PERPCACHE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def printed(*words: str | Path, folder: Path, url: str = ADDRESS) -> str:
    async with started(*words, folder=folder, url=url) as process, asyncio.timeout(120):
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    return said


def code(block: Block, url: str) -> str:
    assert block.text.count(ADDRESS) == 1
    return block.text.replace(ADDRESS, url)


@pytest.fixture
async def url(native_api: ServedApi) -> str:
    await native_api.publish("4h", document(AS_OF_MS), AS_OF_MS)
    return f"http://127.0.0.1:{native_api.port}"


def test_sdist_and_wheel_are_whole(built: Path, wheel: Path) -> None:
    modules = {file.name for file in (ROOT / "client/src/perpcache_client").glob("*.py")}
    wanted = {f"perpcache_client/{name}" for name in (*modules, "py.typed")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    assert wanted <= names
    assert {name.partition("/")[2] for name in names - wanted} == {
        *("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in wanted} | {"LICENSE", "README.md", "pyproject.toml"} <= files


async def test_the_first_lines_run_in_an_empty_environment(
    empty: Path, url: str, tmp_path: Path
) -> None:
    said = await printed(empty / "python", "-c", code(TABLE, url), folder=tmp_path)
    first, *rows, stale, missing = said.splitlines()
    assert first.startswith(f"version {AS_OF_MS}, 2 rows, ")
    numbers = "1699977600000 1.5 2.25 1.0 1.25 10.0 12.5 7.75 1e-05 True"
    assert rows == [f"binance BTCUSDT {numbers}", f"bybit ETHUSDT {numbers}"]
    assert stale == "carried over: ['ETHUSDT']"
    assert missing == "missing: [('XYZUSDT', 'gone')]"


async def test_what_is_not_installed_is_said(empty: Path, url: str, tmp_path: Path) -> None:
    for name in ("pandas", "polars", "numpy"):
        script = (
            "from perpcache_client import Client, MissingPackage\n"
            f"table = Client({url!r}).table('4h')\n"
            f"try: table.to_{name}()\nexcept MissingPackage as error: print(error)\n"
        )
        said = await printed(empty / "python", "-c", script, folder=tmp_path)
        assert said.endswith(f"pip install 'perpcache-client[{name}]'\n")


async def test_frames(full: Path, url: str, tmp_path: Path) -> None:
    said = await printed(full / "python", "-c", code(FRAMES, url), folder=tmp_path)
    lines = [line.split() for line in said.splitlines()]
    assert ["binance", "BTCUSDT", "1.25"] in lines
    assert ["│", "ETHUSDT", "┆", "1", "│"] in lines
    assert ["1.25"] in lines
    assert ["│", "BTCUSDT", "│", "2.25", "│"] in lines


@pytest.mark.parametrize("block", [WATCH, WATCH_ASYNC], ids=["plain", "async"])
async def test_watch(
    block: Block, empty: Path, native_api: ServedApi, url: str, tmp_path: Path
) -> None:
    words = (empty / "python", "-c", code(block, url))
    async with started(*words, folder=tmp_path) as process, asyncio.timeout(60):
        assert process.stdout is not None
        for version in (AS_OF_MS, AS_OF_MS + 1):
            if version != AS_OF_MS:
                await native_api.publish("4h", document(version), version)
            assert await process.stdout.readline() == b"4h version %d: 2 rows\n" % version


async def test_watch_overview(empty: Path, native_api: ServedApi, url: str, tmp_path: Path) -> None:
    words = (empty / "python", "-c", code(WATCH_OVERVIEW, url))
    async with started(*words, folder=tmp_path) as process, asyncio.timeout(60):
        assert process.stdout is not None
        for version in (1, 2):
            markets = [told(), told("bybit", "BTC"), told("bybit", "ETH")]
            await native_api.publish("overview", document_of(markets, version), version)
            rates = {"BTC": 0.0001, "ETH": 0.0001}
            line = f"{version} {NOW} {rates}\n"
            assert (await process.stdout.readline()).decode() == line


async def test_everything_else_and_the_commands(
    full: Path,
    start_simulator: StartSimulator,
    start_service: StartService,
    service_settings: ServiceSettings,
    tmp_path: Path,
) -> None:
    exchanges = start_simulator(binance=2, bybit=2, providers=True)
    settings = service_settings(exchanges, PROVIDERS="on", PROVIDERS_BASE_URL=exchanges.base_url)
    service = await start_service(**settings)
    await service.funding_ready()
    await service.collect("1h")
    said = await printed(full / "python", "-c", code(REST, service.address), folder=tmp_path)
    assert said.startswith("collect:1h Run(run=")
    assert "state='complete'" in said.splitlines()[0]
    await service.collect("4h")
    address, *lines = SHELL.text.splitlines()
    assert address == f"export PERPCACHE_URL={ADDRESS}"
    for line in lines:
        program, *words = shlex.split(line)
        command: tuple[str | Path, ...] = (full / program, *words)
        if words[0] != "watch":
            await printed(*command, folder=tmp_path, url=service.address)
            continue
        async with started(*command, folder=tmp_path, url=service.address) as process:
            assert process.stdout is not None
            assert (await process.stdout.readline()).startswith(b"4h version ")
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
    assert sorted(os.listdir(tmp_path)) == ["4h.csv", "4h.parquet"]  # noqa: PTH208
