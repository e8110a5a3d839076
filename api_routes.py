"""The HTTP application: its routers, its lifespan and its exception handlers.

create_app          builds the application, which connects its parts in the lifespan
Api                 FastAPI behind api/middleware.py
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from api.answers import PIECE_DEADLINE_S, Receive, Scope, Send, answer_to, to_response
from api.assets.reading import AssetReader
from api.assets.routes import build_assets
from api.bytes_in_flight import BytesInFlight
from api.coins import build_coins
from api.collectors.routes import build_collectors
from api.cors import Cors
from api.dashboard import build_dashboard
from api.docs import build_docs
from api.documents.as_of import AsOfEndpoint
from api.documents.document_cache import DocumentCache
from api.documents.endpoint import CacheEndpoint
from api.documents.listing import build_listing
from api.documents.long_poll_quota import LongPolls
from api.documents.nothing_yet import nothing_yet
from api.documents.overviews_as_of import OverviewsAsOf
from api.documents.publication_order import PublicationOrder
from api.documents.publish_watcher import PublishWatcher
from api.documents.query import InvalidQuery
from api.documents.recorded import RecordedVersions
from api.documents.unknown_symbols import ListedSymbols
from api.events.endpoint import EventsEndpoint
from api.exchange_pauses import build_exchange_pauses
from api.history.answering import HistoryAnswers
from api.history.backfills import build_backfills
from api.history.holes import build_holes
from api.history.routes import build_history
from api.home import build_home
from api.jobs import build_jobs
from api.middleware import Middleware
from api.openapi import openapi
from api.overview.endpoint import StatusEndpoint, build_overview
from api.parts import Parts
from api.providers.off import build_off
from api.providers.records import build_provider_records
from api.scrape import ProcessGroup, build_scrape
from api.state import ApiState
from api.status import build_status
from api.tokens import Tokens
from api.version import read_version
from api.workers.agent import build_agent
from api.workers.configuration import build_configuration
from api.workers.console import Console, console_routes, engine_console
from api.workers.control import WorkerControl
from api.workers.log import build_log
from api.workers.published import build_published
from api.workers.queues import build_queues
from api.workers.records import build_records
from api.workers.routes import build_workers
from api.workers.runs import build_runs
from config import Settings
from database import DatabaseUnavailable
from history.as_of_document import AsOfDocuments
from history.as_of_overview import AsOfOverviews
from history.reading import HistoryReader
from metrics.api import ApiMetrics
from metrics.event_loop import measuring_loop_lag
from status.kept import Recent
from status.parts_state import DatabaseFound, database_probe
from stores.hot.store import StoreUnavailable

if TYPE_CHECKING:
    from api.facade import FacadeEndpoint
    from api.providers.asking import Asking

__all__ = ["Api", "create_app"]

VERSION: Final = read_version()
_SUMMARY: Final = "Every Binance, Bybit and OKX perpetual: candles, open interest and funding"

_FACADE: Final = (
    " What bots ask an exchange for is answered at `GET /{exchange}/…`, with its own paths and"
    " parameters and in its own form (docs/facade.md)."
)

Connect = Callable[[], AbstractAsyncContextManager[Parts]]


def create_app(
    settings: Settings,
    connect: Connect,
    *,
    piece_deadline_s: float = PIECE_DEADLINE_S,
    metrics: ApiMetrics | None = None,
) -> "Api":
    """The application. `connect` is entered when the server starts and left when it ends.

    `piece_deadline_s`: the time for a client to take 64 KB of an answer.
    """
    processes = ProcessGroup(metrics or ApiMetrics(), settings.api_names)
    probe = database_probe(settings)
    app = Api(settings, connect, piece_deadline_s, processes, probe)
    routers = (
        build_home(VERSION, _SUMMARY),
        build_listing(),
        build_assets(),
        build_coins(settings),
        build_history(settings.quote),
        build_holes(),
        build_backfills(settings, app.tokens),
        build_jobs(settings, app.tokens),
        build_workers(app.tokens),
        build_published(),
        build_runs(app.tokens),
        build_log(),
        build_configuration(app.tokens),
        build_queues(app.tokens),
        build_agent(app.tokens),
        build_records(),
        build_collectors(app.tokens),
        *_provider_routes(settings, app.tokens),
        build_provider_records(),
        build_status(settings, app.tokens, probe),
        build_overview(),
        build_exchange_pauses(settings, app.tokens),
        build_scrape(processes),
        build_docs(),
        build_dashboard(),
    )
    for router in routers:
        app.include_router(router)
    app.router.routes.extend(console_routes())
    _handle_errors(app, settings, [route for router in routers for route in router.routes])
    return app


class Api(FastAPI):
    """FastAPI behind api/middleware.py, with the lifespan that connects the parts."""

    def __init__(
        self,
        settings: Settings,
        connect: Connect,
        piece_deadline_s: float,
        processes: ProcessGroup,
        probe: Recent[DatabaseFound],
    ) -> None:
        self._processes = processes
        self._probe = probe
        self._metrics = processes.metrics
        self._piece_deadline_s = piece_deadline_s
        self._settings = settings
        self._connect = connect
        self._watcher: PublishWatcher | None = None
        self._events: EventsEndpoint | None = None
        self._cors = Cors(settings.cors_origins)
        self.in_flight = BytesInFlight(
            settings.max_bytes_in_flight // settings.web_concurrency, settings.trusted_proxies
        )
        self._metrics.add_bytes_in_flight(lambda: self.in_flight.total)
        self._metrics.add_listeners(self._listeners)
        self.tokens = Tokens(settings, self._metrics)
        self._http = Middleware(
            super().__call__,
            self._metrics,
            self._cors,
            self.in_flight,
            self.tokens,
            _facade_prefixes(settings),
        )
        super().__init__(
            title="Perpcache",
            version=VERSION,
            summary=_SUMMARY,
            description="`POST /get-market-data` queues a refresh, `GET /jobs/{id}` follows it, "
            "`GET /cache/{name}` reads the result. Times are UTC milliseconds."
            + (_FACADE if settings.facade else ""),
            docs_url=None,
            redoc_url=None,
            openapi_url="/openapi.json",
            generate_unique_id_function=lambda route: route.name,
            redirect_slashes=False,
            lifespan=self._lifespan,
            # Telemetry is not configured from the environment.
            telemetry={"auto_configure": False},
        )

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        return super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi(self)
        return self.openapi_schema

    async def release_waiters(self) -> None:
        """Answers all long polls, and ends all streams of events. Call it before the server stops,
        because the server waits for its requests before it ends the lifespan."""
        if self._watcher is not None:
            await self._watcher.aclose()
        if self._events is not None:
            await self._events.aclose()

    def _asking(self, parts: Parts) -> "Asking | None":
        if parts.providers is None:
            return None
        from api.providers.routes import asking_by

        return asking_by(parts.providers, parts.database, self._settings)

    def _facade(
        self, parts: Parts, cache: DocumentCache
    ) -> "AbstractAsyncContextManager[FacadeEndpoint | None]":
        if parts.facade is None:
            return nullcontext()
        from api.facade_composition import open_facade

        return open_facade(
            self._settings,
            parts.store,
            cache,
            parts.facade,
            tokens=self.tokens,
            metrics=self._metrics,
            counts=self._metrics.facade(),
            cors=self._cors,
            in_flight=self.in_flight,
            piece_deadline_s=self._piece_deadline_s,
        )

    def _listeners(self) -> int:
        return 0 if self._events is None else self._events.listeners()

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[ApiState]:
        async with self._connect() as parts:
            order = PublicationOrder()
            cache = DocumentCache(parts.cache, in_flight=self.in_flight, order=order)
            self._watcher = PublishWatcher(
                parts.cache, poll_s=self._settings.upstash_poll_s, order=order
            )
            nothing = partial(nothing_yet, parts.queue, timeframes=self._settings.timeframes)
            recorded = RecordedVersions(parts.database.publish_log, parts.cache.read_meta)
            overviews = OverviewsAsOf(
                AsOfOverviews(parts.database.history_reads, parts.database.publish_log), recorded
            )
            documents = CacheEndpoint(
                cache,
                self._watcher,
                piece_deadline_s=self._piece_deadline_s,
                metrics=self._metrics,
                nothing_yet=nothing,
                listed=ListedSymbols(
                    partial(
                        parts.database.markets.selected,
                        exchanges=self._settings.exchanges,
                        quote=self._settings.quote,
                    )
                ),
                as_of=AsOfEndpoint(
                    AsOfDocuments(parts.database.history_reads, parts.database.publish_log),
                    overviews,
                    recorded,
                    self.in_flight,
                ),
                long_polls=LongPolls(
                    self._settings.max_waits_per_client, self._settings.trusted_proxies
                ),
                cors=self._cors,
                in_flight=self.in_flight,
            )
            self._events = events = EventsEndpoint(
                parts.cache,
                poll_s=self._settings.upstash_poll_s,
                most_per_client=self._settings.max_listeners_per_client,
                proxies=self._settings.trusted_proxies,
                metrics=self._metrics,
                cors=self._cors,
                in_flight=self.in_flight,
            )
            history = HistoryAnswers(
                HistoryReader(parts.database.history_reads, parts.database.history_name)
            )
            status = StatusEndpoint(
                *(self._settings, VERSION, parts, self._processes, self._probe),
                cors=self._cors,
                in_flight=self.in_flight,
            )
            console = Console(
                self._settings, self.tokens, engine_console(self._settings, parts.database)
            )
            try:
                async with (
                    measuring_loop_lag(self._metrics.loop_lag),
                    self._processes.shared(parts.store),
                    self._facade(parts, cache) as facade,
                ):
                    yield {
                        "parts": parts,
                        "documents": documents,
                        "assets": AssetReader(cache, overviews, nothing),
                        "events": events,
                        "history": history,
                        "workers": WorkerControl(self._settings, parts),
                        "console": console,
                        "asking": self._asking(parts),
                        "facade": facade,
                        "status": status,
                    }
            finally:
                await self._watcher.aclose()
                await events.aclose()
                history.aclose()
                await status.aclose()
                await console.aclose()
                await cache.aclose()


def _facade_prefixes(settings: Settings) -> tuple[str, ...]:
    """What the paths begin with that exchanges answer, if they are answered here."""
    return tuple(f"/{each}/" for each in settings.exchanges) if settings.facade else ()


def _provider_routes(settings: Settings, tokens: Tokens) -> list[APIRouter]:
    if settings.providers == "off":
        return [build_off()]
    from api.providers.routes import build_provider_routes

    return build_provider_routes(tokens)


def _handle_errors(app: FastAPI, settings: Settings, routes: Sequence[BaseRoute]) -> None:
    """Answers exceptions by api.answers.answer_to; a 405 lists all methods of the path."""

    def handle(request: Request, error: Exception) -> Response:
        return to_response(answer_to(error, request.url.path))

    def wrong_method(request: Request, error: Exception) -> Response:
        # Starlette lists only the methods of the path's first route.
        known = (route for route in routes if isinstance(route, Route))
        matching = (route for route in known if route.matches(request.scope)[0] is not Match.NONE)
        allowed = {method for route in matching for method in route.methods or ()}
        allowed |= {"HEAD"} if "GET" in allowed else set()
        if allowed:
            error = HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        return handle(request, error)

    app.add_exception_handler(405, wrong_method)
    for kind in (
        HTTPException,
        RequestValidationError,
        InvalidQuery,
        StoreUnavailable,
        DatabaseUnavailable,
        TimeoutError,
        Exception,
    ):
        app.add_exception_handler(kind, handle)
    if settings.providers != "off":
        from api.providers.routes import handle_provider_errors

        handle_provider_errors(app)
