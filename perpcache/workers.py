"""Workers for the code of users: decorators, base classes, what a run gets; re-exports only."""

from workers.asking import Asked, Outcome
from workers.base_classes import ScheduleBaseWorker, WebSocketBaseWorker
from workers.browser_http import BrowserMissing
from workers.context import Context
from workers.databases.base import BaseDatabase
from workers.databases.declaration import database
from workers.databases.errors import UserDatabaseUnavailable
from workers.databases.repository import IRepositoryBase
from workers.databases.unit_of_work import UnitOfWork
from workers.decorators import schedule, websocket
from workers.http import Answer, HttpFailed, HttpStatus
from workers.rounds import RoundFailed, collect_historical_data, collect_ui_data
from workers.run_handle import RunLost

__all__ = [
    "Answer",
    "Asked",
    "BaseDatabase",
    "BrowserMissing",
    "Context",
    "HttpFailed",
    "HttpStatus",
    "IRepositoryBase",
    "Outcome",
    "RoundFailed",
    "RunLost",
    "ScheduleBaseWorker",
    "UnitOfWork",
    "UserDatabaseUnavailable",
    "WebSocketBaseWorker",
    "collect_historical_data",
    "collect_ui_data",
    "database",
    "schedule",
    "websocket",
]
