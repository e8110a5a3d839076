"""dashboard/vendor.toml: what the page uses of others is named, licensed, and unchanged."""

import hashlib
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

FOLDER: Final = Path(__file__).resolve().parents[2] / "dashboard"
VENDOR: Final = FOLDER / "vendor"
PACKAGES: Final[dict[str, Any]] = tomllib.loads((FOLDER / "vendor.toml").read_text("utf-8"))
OURS: Final = {"licences/NOTICE.txt"}
LICENCES: Final = {"MIT": "Permission is hereby granted", "Apache-2.0": "Apache License"}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_file_is_named_and_as_it_was() -> None:
    named = {
        name: file["sha256"]
        for package in PACKAGES.values()
        for name, file in package["files"].items()
    }
    found = {
        path.relative_to(VENDOR).as_posix(): digest(path.read_bytes())
        for path in VENDOR.rglob("*")
        if path.is_file()
    }
    assert {name: each for name, each in found.items() if name not in OURS} == named
    assert set(found) >= OURS


@pytest.mark.parametrize("name", PACKAGES)
def test_its_licence_is_there(name: str) -> None:
    package = PACKAGES[name]
    text = (VENDOR / package["licence_file"]).read_text("utf-8")
    assert LICENCES[package["licence"]] in text
    assert package["licence_file"] in package["files"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"])
    notice = (VENDOR / "licences" / "NOTICE.txt").read_text("utf-8")
    assert Path(package["licence_file"]).name in notice


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_it_is_the_package_of_npm(name: str, tmp_path: Path) -> None:
    """Every file, byte for byte, from the package that npm gives today."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm: install it to compare with the packages that the files are of")
    package = PACKAGES[name]
    packed = subprocess.run(  # noqa: S603 - our own arguments
        [npm, "pack", "--silent", f"{name}@{package['version']}"],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
    )
    if packed.returncode != 0:
        pytest.skip("npm gives no package here: it needs its registry")
    (archive,) = tmp_path.glob("*.tgz")
    assert digest(archive.read_bytes()) == package["package_sha256"]
    with tarfile.open(archive) as files:
        for file, told in package["files"].items():
            member = files.extractfile(told["of"])
            assert member is not None
            assert member.read() == (VENDOR / file).read_bytes(), file
