"""`make check`'s look for known holes in what is pinned; without network one line, and no failure.

    python -m tests.audit requirements.txt requirements-dev.txt

Exit 0: none is known, or nobody could be asked. Exit 1: at least one, printed; or the look itself
went wrong although the advisories answer.
"""

import argparse
import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Final

# Google's open database of advisories; names and versions of packages are all that it is told.
OSV: Final = "https://api.osv.dev/v1/query"
_PROBE: Final = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "26.3"}
_PROBE_S: Final = 4
_AUDIT_S: Final = 180


def unreachable(address: str) -> str | None:
    """Why the advisories cannot be asked for; None if they can."""
    try:
        with urllib.request.urlopen(  # noqa: S310 - https, unless a test says otherwise
            address, json.dumps(_PROBE).encode(), timeout=_PROBE_S
        ) as answer:
            json.load(answer)
    except (OSError, ValueError, HTTPException) as error:
        return f"{address}: {getattr(error, 'reason', None) or error}"
    return None


def audit(address: str, files: Sequence[str]) -> int:
    options = [word for file in files for word in ("--requirement", file)]
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", *options]
    command += ["--vulnerability-service", "osv", "--osv-url", address]
    command += ["--timeout", "10", "--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, timeout=_AUDIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return skip(f"{address}: no answer within {_AUDIT_S} s")
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
        say(f"audit: pip-audit failed: {said[:300]}")
        return 1
    # pip-audit calls it no failure when it could not look at a package.
    unknown = [package["name"] for package in packages if "vulns" not in package]
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, "
        + (f"fixed in {', '.join(hole['fix_versions'])}" if hole["fix_versions"] else "not fixed")
        for package in packages
        for hole in package.get("vulns", ())
    ]
    for hole in holes:
        say(f"audit: known hole: {hole}")
    if unknown or not packages:
        say(f"audit: not looked at: {', '.join(unknown) or 'anything'}")
    say(f"audit: {len(packages) - len(unknown)} packages, {len(holes)} known holes")
    return 1 if holes or unknown or not packages else 0


def skip(reason: str) -> int:
    say(f"audit: SKIPPED, nobody tells here which holes are known ({reason})")
    return 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--osv-url", default=OSV)
    arguments = parser.parse_args(words)
    reason = unreachable(arguments.osv_url)
    return skip(reason) if reason else audit(arguments.osv_url, arguments.files)


if __name__ == "__main__":
    sys.exit(main())
