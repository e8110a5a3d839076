"""Load on a server by wrk: its throughput, and the check that every answer succeeded."""

import asyncio
import math
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import ProcessFailed, pinned

# wrk calls this at its end; times are in microseconds.
_SCRIPT: Final = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d\\n", summary.requests, summary.bytes,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
"""
MISSING: Final = "wrk is not installed: apt-get install wrk"


def have_wrk() -> bool:
    return shutil.which("wrk") is not None


@dataclass(frozen=True, slots=True)
class Throughput:
    requests_s: float
    mb_s: float
    requests: int


async def press(
    url: str,
    *,
    seconds: float,
    connections: int,
    folder: Path,
    cores: Sequence[int],
    headers: Mapping[str, str],
) -> Throughput:
    """Reads `url` over and over. Raises ProcessFailed for any answer other than 200 or 304."""
    script = folder / "done.lua"
    script.write_text(_SCRIPT)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "20s"]
    command += ["-s", str(script)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    process = await asyncio.create_subprocess_exec(
        *pinned([*command, url], cores),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    ending = asyncio.create_task(process.communicate())
    if seconds < 1:  # wrk accepts no shorter time, but can be stopped earlier
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGINT)
    output = (await ending)[0].decode(errors="replace")
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+)$", output, re.M)
    if found is None or int(found[4]) or not int(found[2]):
        raise ProcessFailed(f"wrk on {url}:\n{output}")
    requests, size, duration_us = int(found[1]), int(found[2]), int(found[3])
    return Throughput(requests / duration_us * 1e6, size / duration_us, requests)
