"""A user of embedded stores in a process of its own, told by lines what to do (for tests).

Answers each line with one line of JSON: {"ok": true, ...} or {"error": "..."}.
"""

import asyncio
import concurrent.futures.thread
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from stores.embedded.stores import EmbeddedStores, EmbeddedStoresError, remove_embedded_data


async def main(data_dir: Path, only: str) -> None:
    stores = EmbeddedStores(
        data_dir, valkey=only in ("", "valkey"), postgres=only in ("", "postgres")
    )
    answer: dict[str, Any]
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        try:
            answer = {"ok": True}
            if line == "start":
                addresses = await stores.start()
                answer |= {"redis": addresses.redis_url, "database": addresses.database_url}
            elif line == "stop":
                await stores.stop()
            elif line == "remove":
                await asyncio.to_thread(remove_embedded_data, data_dir)
        except EmbeddedStoresError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    folder, only, uid, gid = sys.argv[1:]
    assert (
        concurrent.futures.thread
    )  # loaded now: the new user may not read the interpreter's files
    if uid:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    asyncio.run(main(Path(folder), only))
