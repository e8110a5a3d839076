"""What docs/deploying.md and docs/metrics.md tell operators to run or to copy.

Commands that change a machine (users, units, images) are not run here: that what they name exists,
and that our part of them does what it says, is checked in this file and in tests/test_deploy.py.
"""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from main import build_parser
from tests.docs.blocks import ROOT, Block, claim

SYSTEMD: Final = claim("docs/deploying.md", "useradd --system")
BESIDE_IT: Final = claim("docs/deploying.md", "systemd-run --pipe")
COMPOSE: Final = claim("docs/deploying.md", "docker compose up --build")
IMAGE: Final = claim("docs/deploying.md", "docker build -t")
# Their settings start a service: test_deploy.test_the_example_of_settings_is_one_that_starts.
OWN_STORES: Final = claim("docs/deploying.md", "REDIS_URL=rediss://")
UPSTASH: Final = claim("docs/deploying.md", "UPSTASH_REDIS_REST_URL=")
OPEN: Final = claim("docs/deploying.md", "READ_TOKEN=...")
CADDY: Final = claim("docs/deploying.md", "reverse_proxy")
SCRAPE: Final = claim("docs/metrics.md", "scrape_configs")


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a block of shell."""
    joined = block.text.replace("\\\n", " ")
    return [
        words for line in re.split(r"\n|&&", joined) if (words := shlex.split(line, comments=True))
    ]


@pytest.mark.parametrize("block", [SYSTEMD, BESIDE_IT, COMPOSE, IMAGE], ids=lambda b: str(b.line))
def test_the_shell_reads_them_and_the_files_are_there(block: Block) -> None:
    syntax = block.text.replace("<this repository>", "repository")
    done = subprocess.run(  # noqa: S603 - it is only read
        ["/bin/sh", "-n", "-c", syntax], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    named = re.findall(r"\b(?:deploy/[\w./*-]+|requirements\.txt)", block.text)
    for pattern in named:
        assert list(ROOT.glob(pattern)), pattern
    units = re.findall(r"\bperpcache[\w-]*\.(?:service|timer)", block.text)
    for unit in units:
        assert (ROOT / "deploy" / "systemd" / unit).is_file(), unit


def test_our_commands_in_them_are_understood() -> None:
    found = [
        words[words.index("main.py") + 1 :]
        for block in (BESIDE_IT, COMPOSE)
        for words in commands(block)
        if "main.py" in words
    ]
    assert len(found) == 2
    for words in found:
        build_parser().parse_args(words)


def test_the_containers_named_are_those_of_the_compose_file() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for words in commands(COMPOSE):
        if words[:3] == ["docker", "compose", "exec"]:
            assert words[3] in services
    (scaled,) = re.findall(r"--scale (\w+)=", COMPOSE.text)
    assert scaled in services
    assert (ROOT / "Dockerfile").is_file()


def test_the_service_starts_as_the_block_installs_it() -> None:
    unit = (ROOT / "deploy" / "systemd" / "perpcache.service").read_text(encoding="utf-8")
    places = set(re.findall(r"/(?:opt|etc|var/lib)/perpcache\b", SYSTEMD.text))
    assert places == {"/opt/perpcache", "/etc/perpcache", "/var/lib/perpcache"}
    assert f"WorkingDirectory={'/opt/perpcache'}" in unit
    assert "/etc/perpcache/perpcache.env" in unit


def test_caddy_waits_longer_than_the_longest_wait() -> None:
    (seconds,) = re.findall(r"read_timeout (\d+)s", CADDY.text)
    assert int(seconds) > 60
    assert "compression off" in CADDY.text
    assert CADDY.text.count("{") == CADDY.text.count("}")


def test_the_scrape_configuration_is_one() -> None:
    (job,) = yaml.safe_load(SCRAPE.text)["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8000"]}]
    for name in ("grafana-dashboard.json", "alerts.example.yml"):
        assert Path(ROOT / "docs" / name).is_file()
        assert f"({name})" in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
