"""Pydantic models of the registry's resources as they are now, and of their usage."""

from typing import Literal

from pydantic import BaseModel, Field

from api.documents.models import TimeMs
from api.providers.models import Attribution, Level
from providers.breaker import BreakerState
from providers.errors import ErrorClass


class LimitState(BaseModel):
    """Of the provider's limits, as they are used here (RATE_FRACTION)."""

    window_s: int
    quantity: int
    left: int = Field(description="of what may be used now")


class ResourceState(BaseModel):
    id: str = Field(examples=["price.aggregate/coingecko"])
    provider: str
    chain: str = Field(description="what it is asked about", examples=["price.aggregate"])
    level: Level
    state: Literal["alive", "off", "dead"] = Field(description="as its row says")
    reason: str | None = Field(description="why it is off or dead")
    since: str | None
    enabled: bool | None = Field(description="as an operator switched it; null: as its row says")
    asked: bool = Field(description="whether it is asked, when its turn comes")
    key: Literal["none", "set", "optional", "missing"]
    key_variable: str | None
    breaker: BreakerState
    out_until_ms: TimeMs | None
    out_class: ErrorClass | None = Field(description="for what it is left alone until then")
    health: int = Field(description="0 to 100: how many of its last answers were good")
    p70_ms: int | None
    ttl_s: float = Field(description="how long its answer is fresh")
    limits: list[LimitState]
    last_error: str | None
    attribution: Attribution | None
    terms: str | None = Field(description="what its free plan forbids, in words")


class Resources(BaseModel):
    resources: list[ResourceState]


class ProbedResource(BaseModel):
    id: str
    answered: bool
    error: str | None
    ms: int
    records: int
    turned_on: bool = Field(description="it was off, and is asked from now on")


class ProbedResources(BaseModel):
    probed: list[ProbedResource]


class ResourceUsage(BaseModel):
    requests: int
    success: int
    failed: int
    success_rate: float | None = Field(description="a fraction of 1; null: it was not asked yet")
    avg_response_ms: float | None = Field(description="of successes")
    p50_ms: int | None
    p95_ms: int | None
    failed_by_class: dict[str, int]
    skipped: dict[str, int]
    breaker: BreakerState
    breaker_trips: int
    out_until_ms: TimeMs | None
    health: int
    budget: list[LimitState]
    last_error: str | None
    last_error_at_ms: TimeMs | None


class ChainUsage(BaseModel):
    """Questions of one chain. `fallbacks`: answered in place of one that failed or was out."""

    asked: int
    answered: int
    fallbacks: int
    stale: int
    unanswered: int
    cached: int


class UsageStats(BaseModel):
    """Of all processes, since the counters began, 40 days after the last use at most."""

    success: bool
    total_requests: int = Field(description="calls of resources")
    total_fallbacks: int = Field(
        description="questions answered in place of one that failed or was out"
    )
    fallback_rate: float = Field(description="fallbacks by requests, a fraction of 1")
    by_resource: dict[str, ResourceUsage]
    by_chain: dict[str, ChainUsage]
