"""The code of an earlier commit, unpacked from this checkout's git history."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from benchmarks.machine import ROOT

# The last commit at which every timeframe is collected from the exchanges on its own.
BEFORE_CLOSES: Final = "2359bef58f47c6eb6d21a247a65e648d9caebe13"
_DEADLINE_S: Final = 60


def unpack(commit: str, folder: Path) -> bool:
    """Unpacks the commit's files into a new `folder`; False if git or the commit is missing."""
    git = shutil.which("git")
    if git is None:
        return False
    archive = subprocess.run(  # noqa: S603 - git, and a commit of ours
        [git, "-C", str(ROOT), "archive", "--format=tar", commit],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    if archive.returncode != 0:
        return False
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return True
