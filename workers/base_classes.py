"""ScheduleBaseWorker and WebSocketBaseWorker: workers as classes, for those who prefer them."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from logging_setup import EventLog
from stores.hot.store import HotStore
from workers.context import Context
from workers.definition import Function


class ScheduleBaseWorker(ABC):
    """A worker that runs at set times; decorated with @schedule. Each run makes an object, without
    arguments, and sets `job` before it calls `run`."""

    job: Context

    @abstractmethod
    def run(self) -> Any:
        """One run: `async def`, or `def`, which runs in a thread. What it returns is the run's
        result."""

    @property
    def config(self) -> Mapping[str, Any]:
        return self.job.config

    @property
    def log(self) -> EventLog:
        return self.job.log

    @property
    def redis(self) -> HotStore:
        return self.job.redis


class WebSocketBaseWorker(ABC):
    """A worker that keeps a WebSocket open; decorated with @websocket. Each holding makes an
    object, without arguments, and sets `feed` before it calls `on_open`.

    Each method is `async def`, or `def`, which runs in a thread.
    """

    feed: Context

    def on_open(self) -> Any:  # noqa: B027 - most workers need none
        """The WebSocket is open; here subscriptions are sent."""

    @abstractmethod
    def on_message(self, message: str | bytes) -> Any:
        """One message; what it returns is published, unless it is None."""

    def on_close(self, why: str) -> Any:  # noqa: B027 - the same
        """The WebSocket was closed; another is opened unless the worker is stopped."""

    def on_error(self, error: Exception) -> Any:  # noqa: B027 - the same
        """The WebSocket could not be opened, or broke."""

    @property
    def config(self) -> Mapping[str, Any]:
        return self.feed.config

    @property
    def log(self) -> EventLog:
        return self.feed.log

    @property
    def redis(self) -> HotStore:
        return self.feed.redis

    async def send(self, message: str | bytes) -> None:
        await self.feed.send(message)

    async def publish(self, *values: Any) -> None:
        """Refused once another host has the worker."""
        await self.feed.publish(*values)

    def send_blocking(self, message: str | bytes) -> None:
        """As `send`, from a method that is a plain `def`."""
        self.feed.send_blocking(message)

    def publish_blocking(self, *values: Any) -> None:
        """As `publish`, from a method that is a plain `def`."""
        self.feed.publish_blocking(*values)


def function_of(kind: type[ScheduleBaseWorker]) -> Function:
    """The function of a schedule's class: makes an object for the run and calls its `run`."""
    if inspect.iscoroutinefunction(kind.run):

        @functools.wraps(kind.run)
        async def run(job: Context) -> Any:
            return await _made(kind, job).run()

        return run

    @functools.wraps(kind.run)
    def run_in_thread(job: Context) -> Any:
        return _made(kind, job).run()

    return run_in_thread


def _made(kind: type[ScheduleBaseWorker], job: Context) -> ScheduleBaseWorker:
    worker = kind()
    worker.job = job
    return worker
