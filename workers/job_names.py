"""The names that the engine's jobs have: of a queue its entrypoint, of a run its key."""

from typing import Final

from stores.cold.workers.engine_jobs import KEY_PREFIX

_QUEUE: Final = "q:"


def entrypoint_of(queue: str) -> str:
    """The engine's name of a queue."""
    return f"{_QUEUE}{queue}"


def queue_of(entrypoint: str) -> str:
    return entrypoint.removeprefix(_QUEUE)


def key_of(run_id: int) -> str:
    """Under which the engine has one job of a run at most."""
    return f"{KEY_PREFIX}{run_id}"
