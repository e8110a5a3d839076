"""The routes of providers, with the errors that they raise. Loaded unless PROVIDERS=off."""

from fastapi import APIRouter, FastAPI

from api.answers import to_response
from api.parts import ProviderParts
from api.providers.answered import PROVIDER_ERRORS, error_answer
from api.providers.asking import Asking
from api.providers.chains import build_chain_facts
from api.providers.client_calls import ClientCalls
from api.providers.kept_whales import WhaleTable
from api.providers.market import build_market
from api.providers.resources import build_resources
from api.providers.rpc import build_rpc
from api.tokens import Tokens
from config import Settings
from database import Database


def build_provider_routes(tokens: Tokens) -> list[APIRouter]:
    return [build_market(), build_chain_facts(), build_rpc(tokens), build_resources(tokens)]


def handle_provider_errors(app: FastAPI) -> None:
    for each in PROVIDER_ERRORS:
        app.add_exception_handler(each, lambda _, error: to_response(error_answer(error)))


def asking_by(parts: ProviderParts, database: Database, settings: Settings) -> Asking:
    calls = ClientCalls(settings.max_provider_calls_per_client, settings.trusted_proxies)
    table = WhaleTable(database, parts.registry, settings.whale_min_usd)
    return Asking(parts, settings, calls, table)
