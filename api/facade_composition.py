"""The facade of an API process, made of its parts."""

from typing import TYPE_CHECKING

from api.bytes_in_flight import BytesInFlight
from api.cors import Cors
from api.facade import FacadeEndpoint
from api.parts import FacadeParts
from api.tokens import Tokens
from budgets.left_over import LeftOver
from budgets.proxies import egress_id_of
from config import Settings
from facade.answers import NoAnswers
from facade.limit_headers import LimitHeaders
from facade.passing import Passing
from facade.question import Question
from facade.shared_answers import SharedAnswers
from market.markets import Exchange
from metrics.api import ApiMetrics
from metrics.facade import FacadeMetrics
from stores.hot.store import HotStore

if TYPE_CHECKING:
    from facade.answers import CachedAnswers


def open_facade(
    settings: Settings,
    store: HotStore,
    parts: FacadeParts,
    *,
    tokens: Tokens,
    metrics: ApiMetrics,
    cors: Cors,
    in_flight: BytesInFlight,
    piece_deadline_s: float,
) -> FacadeEndpoint:
    """The endpoint, which closes what is made here."""
    answers: CachedAnswers = NoAnswers()

    def heard(question: Question, body: bytes, asked_ms: int) -> None:
        answers.passed(question.exchange, question.path, question.query, body, asked_ms)

    counts = FacadeMetrics(metrics.registry)
    egress_ids = {exchange: egress_id_of(settings, exchange) for exchange in Exchange}
    passing = Passing(
        parts.client,
        LeftOver(store, settings.facade_fraction, egress_ids),
        SharedAnswers(store),
        counts,
        share=settings.facade_fraction,
        processes=settings.web_concurrency,
        now_ms=answers.now_ms,
        heard=heard,
    )
    return FacadeEndpoint(
        answers,
        passing,
        LimitHeaders(passing, answers, store.kind),
        tokens=tokens,
        metrics=metrics,
        counts=counts,
        cors=cors,
        in_flight=in_flight,
        piece_deadline_s=piece_deadline_s,
    )
