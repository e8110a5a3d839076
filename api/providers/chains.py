"""GET /api/gas, /api/blockchain, /api/whales and /api/balance: what is so on blockchains."""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import Response

from api.answers import Scope
from api.providers.answered import Shown, told_tried
from api.providers.asking import Asking, network_or_404
from api.providers.described import NAMES, asked_responses, parameters
from api.providers.encoded import NO_STORE, answered
from api.providers.kept_whales import KeptWhales
from api.providers.models import Balance, Blockchain, Gas, Whales
from api.providers.reading import QuestionReader
from api.providers.request_asking import RequestAsking
from providers.accounts import normalised
from providers.answers import Answer
from providers.errors import InvalidQuestion, NoAnswer
from providers.networks import Network, UnknownNetwork, network_of
from providers.questions import Question
from providers.records import WhaleTransfer
from providers.whales.memory import Window
from timing.clock import now_ms

_MOST: Final = 1000
_USUAL: Final = 100
_MOST_USD: Final = 10**15
Chain = Annotated[str, Path(description="its id or name", examples=["ethereum"])]


def build_chain_facts() -> APIRouter:
    router = APIRouter(tags=["providers"])

    @router.get(
        "/api/gas/{chain}",
        response_model=Gas,
        responses=asked_responses(422),
        summary="What a transaction costs",
        name="get_gas",
        openapi_extra=parameters({}, {}),
    )
    async def get_gas(chain: Chain, request: Request, asking: RequestAsking) -> Response:
        """Of EVM chains in wei, of Bitcoin in satoshi per 1000 virtual bytes."""
        return await _one(request, asking, "gas", chain)

    @router.get(
        "/api/blockchain/{chain}",
        response_model=Blockchain,
        responses=asked_responses(422),
        summary="How a chain is",
        name="get_blockchain",
        openapi_extra=parameters({}, {}),
    )
    async def get_blockchain(chain: Chain, request: Request, asking: RequestAsking) -> Response:
        """Its height, the time of its last block, and figures with their units."""
        return await _one(request, asking, "stats", chain)

    @router.get(
        "/api/whales",
        response_model=Whales,
        responses=asked_responses(422),
        summary="Great transfers",
        name="list_whales",
        openapi_extra=parameters(
            {"chain": ("of these chains; without it those of AGENT_CHAINS", NAMES)},
            {
                "min_usd": (
                    "worth at least this; of less than WHALE_MIN_USD nothing is known",
                    {"type": "integer", "minimum": 0, "maximum": _MOST_USD},
                ),
                "limit": (
                    f"at most n, and at most {_MOST}",
                    {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _USUAL},
                ),
            },
        ),
    )
    async def list_whales(request: Request, asking: RequestAsking) -> Response:
        """Transfers in the blocks of the last hour that were read, the newest first: by the agent,
        and by this question, where it has the time. `read` tells which blocks that were, and what
        is from the table of transfers that rounds have kept."""
        reader = QuestionReader(request.scope["query_string"], ("chain", "min_usd", "limit"))
        names = reader.listed("chain")
        least, limit = reader.integer("min_usd", least=0), reader.limit(_USUAL, _MOST)
        if least is not None and least > _MOST_USD:
            reader.refuse("min_usd", "integer", f"must be at most {_MOST_USD}")
        networks = _networks(reader, names, asking)
        reader.check()
        found = await asyncio.gather(*(_whales_of(asking, request.scope, e) for e in networks))
        windows = await _windows(asking, networks)
        at_ms = now_ms()
        beside = (asking.whale_table.beside(e, windows.get(e.id), at_ms) for e in networks)
        kept = {each.cursor.chain: each for each in await asyncio.gather(*beside) if each}
        transfers = [each for each in _all_of(found, kept.values()) if _is_worth(each, least)]
        silent = {
            network.id: answer
            for network, answer in zip(networks, found, strict=True)
            if isinstance(answer, NoAnswer) and network.id not in kept
        }
        if len(silent) == len(networks):
            tried = tuple(each for answer in silent.values() for each in answer.tried)
            raise NoAnswer(f"whales of {', '.join(silent)}", tried)
        transfers.sort(key=lambda each: (each.time_ms or 0, each.tx_hash, each.index), reverse=True)
        shown = Shown(asking.parts)
        return answered(
            {
                "whales": [shown.record(each) for each in transfers[:limit]],
                "read": [
                    *(_as_read(chain, window, at_ms) for chain, window in windows.items()),
                    *(each.as_read(at_ms) for each in kept.values()),
                ],
                "missing": [
                    {"chain": chain, "tried": told_tried(error.tried, all_=True)}
                    for chain, error in silent.items()
                ],
            },
            shown.cache_control(request, transfers[:limit]),
        )

    @router.get(
        "/api/balance/{chain}/{address}",
        response_model=Balance,
        responses=asked_responses(422),
        summary="What an address holds",
        name="get_balance",
        openapi_extra=parameters({}, {}),
    )
    async def get_balance(
        chain: Chain,
        address: Annotated[str, Path(description="in any of the chain's forms", max_length=128)],
        request: Request,
        asking: RequestAsking,
    ) -> Response:
        """Of the chain's own coin. It is kept nowhere."""
        QuestionReader(request.scope["query_string"], ()).check()
        network = network_or_404(chain)
        question = Question(
            asking.chain_for("balance", network), (normalised(network.id, address),)
        )
        answer = await asking.ask(request.scope, question)
        shown = Shown(asking.parts)
        fact = {**shown.record(answer.records[0]), "tried": told_tried(answer.tried)}
        return answered(fact, NO_STORE)

    return router


async def _one(request: Request, asking: Asking, kind: str, chain: str) -> Response:
    QuestionReader(request.scope["query_string"], ()).check()
    network = network_or_404(chain)
    answer = await asking.ask(
        request.scope, Question(asking.chain_for(kind, network), (network.id,))
    )
    shown = Shown(asking.parts)
    fact: dict[str, Any] = shown.record(answer.records[0])
    return answered(
        {**fact, "tried": told_tried(answer.tried)}, shown.cache_control(request, answer.records)
    )


def _networks(
    reader: QuestionReader, names: tuple[str, ...] | None, asking: Asking
) -> list[Network]:
    """Those that are named, or those of the agent of which anybody tells."""
    found: dict[str, Network] = {}
    for name in asking.settings.agent_chains if names is None else names:
        try:
            network = network_of(name)
            asking.chain_for("whales", network)
        except (UnknownNetwork, HTTPException) as error:
            if names is not None:
                detail = error.detail if isinstance(error, HTTPException) else error
                reader.refuse("chain", "chain", str(detail))
            continue
        found[network.id] = network
    return list(found.values())


async def _whales_of(asking: Asking, scope: Scope, network: Network) -> Answer | NoAnswer:
    chain = asking.chain_for("whales", network)
    least = str(asking.settings.whale_min_usd)
    try:
        return await asking.ask(scope, Question(chain, (network.id,), (("min_usd", least),)))
    except NoAnswer as error:
        return error
    except InvalidQuestion as error:
        return NoAnswer(str(error), ())


async def _windows(asking: Asking, networks: list[Network]) -> dict[str, Window]:
    """What is known of each chain's blocks."""
    whales, least = asking.parts.chains.whales, asking.settings.whale_min_usd
    windows = await asyncio.gather(*(whales.known(each.id, least) for each in networks))
    return {
        network.id: window
        for network, window in zip(networks, windows, strict=True)
        if window is not None
    }


def _as_read(chain: str, window: Window, at_ms: int) -> dict[str, Any]:
    """Which blocks were looked through here, and when."""
    return {
        "chain": chain,
        "source": "blocks",
        "first_block": window.first,
        "last_block": window.cursor.block,
        "read_at_ms": window.read_at_ms,
        "age_s": max(0, at_ms - window.read_at_ms) / 1000,
        "complete": window.complete_at_ms == window.read_at_ms,
        "coin_blocks_left_out": window.coin_blocks_left,
    }


def _all_of(
    found: Iterable[Answer | NoAnswer], kept: Iterable[KeptWhales]
) -> Iterable[WhaleTransfer]:
    """Each once: what blocks tell now before what is kept."""
    told = [each for answer in found if isinstance(answer, Answer) for each in answer.records]
    for group in kept:
        told += group.transfers
    places: dict[tuple[str, str, int], WhaleTransfer] = {}
    for each in told:
        if isinstance(each, WhaleTransfer):
            places.setdefault((each.chain, each.tx_hash, each.index), each)
    return places.values()


def _is_worth(transfer: WhaleTransfer, least: int | None) -> bool:
    if not least:
        return True
    return transfer.value_usd is not None and transfer.value_usd >= least
