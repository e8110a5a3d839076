"""What is shipped for deploying: it names what exists, and what can run here is run."""

import ast
import asyncio
import fnmatch
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from config import Settings, load_settings
from main import build_parser
from tests.docs.blocks import blocks
from tests.docs.test_recipes import document, until_it_waits
from tests.fixtures.api import ServedApi, StartApi
from tests.fixtures.signals import until_true

ROOT: Final = Path(__file__).resolve().parents[1]
MIGRATIONS: Final = ROOT / "stores" / "cold" / "migrations"
UNITS: Final = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES: Final = [unit for unit in UNITS if unit.suffix == ".service"]
SETTINGS: Final = {name.upper() for name in Settings.model_fields}
# Variables of others: of Python, systemd, the PostgreSQL image and the timer's own unit.
OF_PYTHON: Final = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
OF_OTHERS: Final = OF_PYTHON | {
    *("XDG_RUNTIME_DIR", "PERPCACHE_URL"),
    *("POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"),
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def variables(name: str) -> set[str]:
    """The environment variables that a file sets, of whatever kind the file is."""
    found = text(name)
    if name == "Dockerfile":
        found = re.sub(r"\\\n", " ", found)
        return set(re.findall(r" ([A-Z_]+)=", "".join(re.findall("^ENV.*$", found, re.MULTILINE))))
    if name.endswith(".yaml"):
        return set(re.findall(r"^ +([A-Z][A-Z_]+):", found, re.MULTILINE))
    if name.endswith(".service"):
        lines = re.findall(r"^Environment=(.*)$", found, re.MULTILINE)
        used = set(re.findall(r"\$\$([A-Z_]+)", found))
        return used | {word.partition("=")[0] for line in lines for word in line.split()}
    return set(re.findall(r"^([A-Z_]+)=", found, re.MULTILINE))


@pytest.mark.parametrize(
    "name",
    [
        *("Dockerfile", "compose.yaml", "deploy/example.env", "docs/deploying.md"),
        *(str(unit.relative_to(ROOT)) for unit in SERVICES),
    ],
)
def test_every_variable_is_a_setting(name: str) -> None:
    found = variables(name)
    assert len(found) >= 2
    assert found <= SETTINGS | OF_OTHERS


def test_every_setting_stands_in_the_example_with_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = re.findall(r"^(?:# )?([A-Z_0-9]+)=(.*)$", text("deploy/example.env"), re.MULTILINE)
    names = [name for name, _ in lines]
    assert len(set(names)) == len(names)
    # The last is there only to be refused.
    assert SETTINGS - set(names) == {"CORE_DB_HOST"}
    bare = load_settings()
    for name, value in lines:
        monkeypatch.setenv(name, value)
    assert load_settings() == bare


def test_the_example_of_settings_is_one_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    example: dict[str, Any] = {"_env_file": ROOT / "deploy" / "example.env"}
    settings = Settings(**example)
    assert (settings.redis_url, settings.cron_secret) == (None, None)
    for block in blocks("docs/deploying.md"):
        given = dict(re.findall(r"^([A-Z_]+)=(.*)$", block.text, re.MULTILINE))
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            assert {name.lower() for name in given} <= load_settings().model_fields_set


def commands() -> Iterator[tuple[str, list[str]]]:
    """Everything after main.py that any of the files runs or tells people to run."""
    yield "Dockerfile", json.loads(_one(r"^CMD (\[.*\])$", text("Dockerfile")))
    for found in re.findall(r"^    command: (\[.*\])$", text("compose.yaml"), re.MULTILINE):
        yield "compose.yaml", json.loads(found)
    files = [str(unit.relative_to(ROOT)) for unit in SERVICES]
    for name in (*files, "docs/deploying.md", "docs/recipes.md"):
        for found in re.findall(r"main\.py ([^`\n]+?)(?:`|\n|\\)", text(name)):
            yield name, found.split()


def _one(pattern: str, found_in: str) -> str:
    (found,) = re.findall(pattern, found_in, re.MULTILINE)
    assert isinstance(found, str)
    return found


def test_every_command_exists() -> None:
    asked = list(commands())
    assert {words[0] for _, words in asked} >= {"serve", "api", "worker", "coins"}
    assert {name for name, _ in asked} >= {"Dockerfile", "compose.yaml", "docs/deploying.md"}
    for _, words in asked:
        build_parser().parse_args(words)  # ends the process at a word that it does not know


# The image.


def in_image(path: str) -> bool:
    """Whether .dockerignore lets `path` through: the last line that matches it decides."""
    let_in = True
    for line in text(".dockerignore").splitlines():
        pattern = line.removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        anywhere = pattern.startswith("**/")
        parts = path.split("/")
        heads = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        names = parts if anywhere else [head for head in heads if head.count("/") == 0]
        if any(fnmatch.fnmatchcase(name, pattern.removeprefix("**/")) for name in names):
            let_in = line.startswith("!")
    return let_in


def own_modules() -> set[Path]:
    """main.py and every file of ours that it imports, or that these import."""
    seen: set[Path] = set()
    left = [ROOT / "main.py"]
    while left:
        file = left.pop()
        if file in seen:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                place = ROOT.joinpath(*name.split("."))
                left += [f for f in (place.with_suffix(".py"), place / "__init__.py") if f.exists()]
    return seen


def test_the_image_holds_what_runs_and_no_more() -> None:
    modules = {str(file.relative_to(ROOT)) for file in own_modules()}
    assert {"main.py", "api/documents/endpoint.py", "simulator/__init__.py"} <= modules
    migrations = {str(file.relative_to(ROOT)) for file in MIGRATIONS.glob("*.sql")}
    assert migrations
    page = {str(file.relative_to(ROOT)) for file in (ROOT / "dashboard").rglob("*.*")}
    assert {"dashboard/index.html", "dashboard/vendor/preact.mjs"} <= page
    for path in modules | migrations | page | {"requirements.txt", "pyproject.toml"}:
        assert in_image(path), path
    for path in (
        *(".env", ".git/config", ".venv/bin/python", "data/stores/postgres.password"),
        *("tests/conftest.py", "api/__pycache__/cache.pyc", "deploy/example.env"),
    ):
        assert not in_image(path), path


def test_what_the_dockerfile_copies_is_there() -> None:
    dockerfile = text("Dockerfile")
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert sources == ["requirements.txt", "."]
    assert json.loads(_one(r"^ENTRYPOINT (\[.*\])$", dockerfile)) == ["python", "main.py"]
    assert "--require-hashes" in dockerfile
    # Not root, and one that /etc/passwd knows: the embedded PostgreSQL asks for both.
    assert _one(r"^USER (\S+)$", dockerfile) == "10001:10001"
    assert "useradd --system --uid 10001" in dockerfile


async def test_the_images_health_check_tells_alive_from_dead(native_api: ServedApi) -> None:
    check = json.loads(_one(r"^    CMD (\[\"python\".*\])$", text("Dockerfile")))
    # Docker asks three times before it calls a container dead; so does this, on a busy machine.
    for _ in range(3):
        alive = await run(sys.executable, *check[1:], PORT=str(native_api.port))
        if alive[0] == 0:
            break
    assert alive == (0, "")
    code, _ = await run(sys.executable, *check[1:], PORT="1")
    assert code == 1


async def run(*command: str, **environment: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"]} | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(30):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, printed.decode().strip()


# Compose.


def test_compose_holds_together() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    compose = yaml.safe_load(text("compose.yaml"))
    services = compose["services"]
    assert set(services) == {"proxy", "api", "worker", "beat", "live", "valkey", "postgres"}
    assert services["api"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert set(service.get("depends_on", {})) <= set(services)
        assert set(service["networks"]) <= set(compose["networks"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if "/" in source else source in compose["volumes"]
        # One port, and only for this machine; replicas of one service cannot share a host's port.
        assert service.get("ports", []) == (["127.0.0.1:8000:8080"] if name == "proxy" else [])
        # Whom others wait for has to be able to say that it is well.
        for other in services.values():
            if name in other.get("depends_on", {}):
                assert "test" in service.get("healthcheck", {}) or name == "api"
    assert compose["networks"]["stores"] == {"internal": True}
    assert "outside" not in services["postgres"]["networks"] + services["valkey"]["networks"]
    for name in ("worker", "beat", "live"):
        assert services[name]["environment"] == services["api"]["environment"]
    assert not [name for name in services if "profiles" in services[name]]
    given = services["api"]["environment"]
    assert given["DATABASE_URL"].endswith("@postgres:5432/perpcache")
    usable: dict[str, Any] = {
        name.lower(): re.sub(r"\$\{POSTGRES_PASSWORD:[^}]*\}", "s3cret", value) or None
        for name, value in given.items()
    }
    Settings(**usable)


def test_valkey_loses_nothing_in_compose() -> None:
    words = re.findall(r'^      - "?([^"\n]+)"?$', text("compose.yaml"), re.MULTILINE)
    assert words[words.index("--maxmemory-policy") + 1] == "noeviction"
    assert words[words.index("--appendonly") + 1] == "yes"


@pytest.fixture
async def proxy(native_api: ServedApi, tmp_path: Path) -> AsyncIterator[str]:
    """The shipped nginx configuration in front of the API, at an address of this machine."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    socket_path = tmp_path / "n.sock"
    configuration = text("deploy/nginx.conf")
    for there, here in (
        ("resolver 127.0.0.11 valid=5s ipv6=off;", ""),
        ("http://api:8000", f"http://127.0.0.1:{native_api.port}"),
        ("listen 8080 backlog=2048", f"listen unix:{socket_path}"),
        ("/tmp/nginx.pid", f"{tmp_path}/nginx.pid"),  # noqa: S108 - in the container
        ("worker_processes auto;", "worker_processes 1; daemon off;"),
    ):
        assert configuration.count(there) == 1
        configuration = configuration.replace(there, here)
    (tmp_path / "nginx.conf").write_text(configuration)
    process = await asyncio.create_subprocess_exec(
        *(nginx, "-e", "stderr", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path))
    )
    try:
        await until_true(lambda: socket_path.exists() or process.returncode is not None)
        assert process.returncode is None
        yield str(socket_path)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_nginx_lets_bytes_and_validators_through(native_api: ServedApi, proxy: str) -> None:
    await native_api.publish("4h", document(1), 1)
    path, deflate = "/cache/4h", {"Accept-Encoding": "deflate"}
    async with native_api.http.get(path, headers=deflate) as answer:
        direct = (await answer.read(), answer.headers["ETag"])
    transport = httpx.AsyncHTTPTransport(uds=proxy)
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        async with client.stream("GET", path, headers=deflate) as reply:
            raw = b"".join([piece async for piece in reply.aiter_raw()])
        assert (raw, reply.headers["ETag"]) == direct
        assert reply.headers["Content-Encoding"] == "deflate"
        known = {"If-None-Match": direct[1]}
        assert (await client.get(path, headers=known)).status_code == 304
        assert (await client.post("/get-market-data", content=b"x" * 70_000)).status_code == 413
        # A request that waits is not cut short, and the news comes through at once.
        waiting = asyncio.create_task(
            client.get(path, params={"wait": 20}, headers=known, timeout=30)
        )
        await until_it_waits(native_api)
        await native_api.publish("4h", document(2), 2)
        async with asyncio.timeout(15):
            assert (await waiting).json()["version"] == 2


async def test_nginx_passes_events_on_as_they_come(native_api: ServedApi, proxy: str) -> None:
    transport = httpx.AsyncHTTPTransport(uds=proxy)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://proxy", timeout=30) as client,
        client.stream("GET", "/events", params={"event": "document"}) as stream,
    ):
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        async with asyncio.timeout(15):
            assert (await anext(lines)).startswith("retry:")
            # What follows is far smaller than any buffer, and the stream does not end.
            await native_api.publish("4h", document(1), 1)
            while not (line := await anext(lines)).startswith("data:"):
                pass
        assert json.loads(line.removeprefix("data:"))["version"] == 1


async def test_nginx_passes_every_route_on(native_api: ServedApi, proxy: str) -> None:
    transport = httpx.AsyncHTTPTransport(uds=proxy)
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        for path in ("/status", "/api/collectors", "/api/collectors/a%2Fb", "/cache"):
            async with native_api.http.get(path) as answer:
                direct = answer.status, answer.headers["Content-Type"]
            reply = await client.get(path)
            assert (reply.status_code, reply.headers["Content-Type"]) == direct


# systemd.


def setting(unit: str, name: str) -> str:
    return _one(rf"^{name}=(.*)$", text(f"deploy/systemd/{unit}"))


def shell_line(unit: str, name: str) -> list[str]:
    """The command of a unit as systemd would run it."""
    return [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(setting(unit, name))]


async def test_units_verify(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS:
        content = unit.read_text().replace("/opt/perpcache/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(content)
    files = [str(tmp_path / unit.name) for unit in UNITS]
    assert await run(analyze, "verify", *files) == (0, "")


def test_only_main_is_told_to_end_and_has_time_for_the_stores() -> None:
    for unit in ("perpcache", "perpcache-api", "perpcache-worker", "perpcache-live"):
        assert setting(f"{unit}.service", "KillMode") == "mixed"
        assert setting(f"{unit}.service", "ProtectSystem") == "strict"
        data_dir = f"/var/lib/{setting(f'{unit}.service', 'StateDirectory')}"
        assert f"DATA_DIR={data_dir}" in setting(f"{unit}.service", "Environment").split()
    # PostgreSQL's three endings take 20 s at most; the children before it 2 s.
    assert int(setting("perpcache.service", "TimeoutStopSec")) > 22
    runtime = f"XDG_RUNTIME_DIR=/run/{setting('perpcache.service', 'RuntimeDirectory')}"
    assert runtime in setting("perpcache.service", "Environment").split()


_PARTS: Final = ("api", "worker", "beat", "live")


def test_the_whole_service_and_its_parts_exclude_each_other() -> None:
    parts = {f"perpcache-{part}.service" for part in _PARTS}
    assert set(setting("perpcache.service", "Conflicts").split()) == parts
    for part in parts:
        assert setting(part, "Conflicts") == "perpcache.service"
        (command,) = re.findall(r"main\.py (\w+)$", setting(part, "ExecStart"))
        assert part == f"perpcache-{command}.service"


@pytest.mark.parametrize("unit", [f"perpcache-{part}.service" for part in _PARTS])
async def test_parts_alone_refuse_embedded_stores(unit: str) -> None:
    check = shell_line(unit, "ExecStartPre")
    database, redis = "postgresql://u:p@db/x", "redis://store/0"
    upstash = "https://x.upstash.io"
    assert (await run(*check))[0] == 78
    assert (await run(*check, DATABASE_URL=database))[0] == 78
    assert (await run(*check, REDIS_URL=redis, DATABASE_URL=""))[0] == 78
    assert await run(*check, REDIS_URL=redis, DATABASE_URL=database) == (0, "")
    assert await run(*check, UPSTASH_REDIS_REST_URL=upstash, DATABASE_URL=database) == (0, "")


async def test_the_timers_request_queues_a_funding_refresh(
    start_api: StartApi, redis_url: str
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    api = await start_api(redis_url=redis_url, cron_secret="a'b$c")
    ask = shell_line("perpcache-update-fr.service", "ExecStart")
    url = f"http://127.0.0.1:{api.port}"
    code, said = await run(*ask, CRON_SECRET="wrong", PERPCACHE_URL=url)
    assert (code, "401" in said) == (22, True)
    assert await api.queue.get("funding") is None
    assert await run(*ask, CRON_SECRET="a'b$c", PERPCACHE_URL=url) == (0, "")
    job = await api.queue.get("funding")
    assert job is not None and job.state == "queued"
    assert not any("CRON_SECRET" in word for word in ask if "curl" not in word)
