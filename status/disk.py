"""The room on the disk of DATA_DIR, of the host of this process."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DEADLINE_S: Final = 1.0  # a network's file system may hang


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """In bytes."""

    free: int
    total: int


async def disk_room(folder: Path) -> DiskRoom | None:
    """Of the disk that has the folder, or the nearest above it that exists; None if the system does
    not tell in time."""
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await asyncio.to_thread(_disk_room, folder)
    except (OSError, TimeoutError):
        return None


def _disk_room(folder: Path) -> DiskRoom:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return DiskRoom(usage.free, usage.total)
