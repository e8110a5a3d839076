"""The facade of an API process, made of its parts."""

import contextlib
from collections.abc import AsyncIterator

from api.bytes_in_flight import BytesInFlight
from api.cors import Cors
from api.documents.document_cache import DocumentCache
from api.facade import FacadeEndpoint
from api.facade_cache import cached_answers
from api.parts import FacadeParts
from api.tokens import Tokens
from budgets.left_over import LeftOver
from budgets.proxies import egress_id_of
from config import Settings
from facade.asked_beside import AskedBeside
from facade.limit_headers import LimitHeaders
from facade.passing import Passing
from facade.shared_answers import SharedAnswers
from market.markets import Exchange
from metrics.api import ApiMetrics
from metrics.facade import FacadeMetrics
from stores.hot.store import HotStore


@contextlib.asynccontextmanager
async def open_facade(
    settings: Settings,
    store: HotStore,
    cache: DocumentCache,
    parts: FacadeParts,
    *,
    tokens: Tokens,
    metrics: ApiMetrics,
    counts: FacadeMetrics,
    cors: Cors,
    in_flight: BytesInFlight,
    piece_deadline_s: float,
) -> AsyncIterator[FacadeEndpoint]:
    async with cached_answers(settings, store, cache) as answers:
        egress_ids = {exchange: egress_id_of(settings, exchange) for exchange in Exchange}
        passing = Passing(
            parts.client,
            LeftOver(store, settings.facade_fraction, egress_ids),
            SharedAnswers(store),
            counts,
            share=settings.facade_fraction,
            processes=settings.web_concurrency,
            now_ms=answers.now_ms,
            heard=answers.passed,
            dated=answers.dated,
            market=answers.market,
        )
        limits = LimitHeaders(passing, answers, store.kind)
        beside = AskedBeside(passing)
        try:
            yield FacadeEndpoint(
                answers,
                passing,
                limits,
                beside,
                tokens=tokens,
                metrics=metrics,
                counts=counts,
                cors=cors,
                in_flight=in_flight,
                piece_deadline_s=piece_deadline_s,
            )
        finally:
            await limits.aclose()
            await beside.aclose()
            await passing.aclose()
