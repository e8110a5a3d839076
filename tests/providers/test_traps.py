"""The traps of sources of facts, each with the tests that would fail in it.

The eighteen of the reference for providers, in its order.

 1. Symbols collide, and each exchange has its own
    - test_traps.test_aggregates_are_never_asked_by_symbol
    - test_assets.test_names
    - test_assets.test_multiples_of_exchanges
    - readers.test_prices.test_a_market_of_a_thousand_coins_is_a_thousandth
    - readers.test_recorded.test_it_is_read_right_or_refused
 2. Texts, integers and floats of one idea; scientific notation; four ways to say none
    - test_exact.test_numbers
    - test_exact.test_what_means_none
    - test_exact.test_json_fractions_keep_every_digit
    - test_exact.test_amounts_that_are_rounded_or_impossible_are_refused
    - readers.test_changed_answers.test_a_number_in_another_writing_is_the_same_or_refused
 3. Percent against fraction
    - test_traps.test_changes_are_fractions_whatever_the_provider_tells
    - readers.test_prices.test_a_list_of_markets
 4. 200 is not success
    - test_traps.test_an_error_with_status_200_is_none_of_the_answers
    - test_classify.test_errors_of_nodes
    - test_classify.test_refusals_in_the_envelope_of_etherscan
    - test_refusals.test_refusals
    - readers.test_json_rows.test_an_envelope_that_does_not_say_success_is_refused
    - readers.test_simulated.test_errors_are_told_apart
 5. And status "0" may be success
    - test_classify.test_status_0_may_be_an_answer
 6. JSON-RPC: other ids, null results, missing archives, reverted calls
    - test_classify.test_errors_of_nodes
    - readers.test_nodes.test_calls
    - readers.test_nodes.test_what_a_node_does_not_have_yet_is_unknown
    - rpc.test_nodes.test_a_call_that_is_wrong_is_not_asked_twice
 7. A node that lags answers quickly and well; reorganisations
    - rpc.test_nodes.test_a_node_that_lags_is_not_asked
    - rpc.test_nodes.test_the_block_of_several_reads_is_one_that_all_nodes_have
    - simulated.test_nodes.test_a_balance_is_what_nodes_agree_about_at_a_block_that_stands
    - simulated.test_whales.test_blocks_before_one_that_was_taken_back_are_read_again
 8. wei, gwei, sat, sun, lamports, and decimals of coins and tokens
    - test_exact.test_gwei_and_sat_per_vb_become_integers_without_floats
    - test_assets.test_tether_has_other_decimals_on_bsc
    - test_assets.test_chains_and_their_coins
    - readers.test_json_rows.test_fees_in_gwei_and_sat_per_vb_are_whole
 9. Three forms of one account of Tron
    - test_accounts.test_all_forms_of_a_tron_address_are_one
    - test_accounts.test_a_tron_address_is_given_to_nodes_in_their_forms
    - test_requests.test_addresses_stand_in_the_body_and_tron_has_its_other_form
10. Gas price times gas is not what a rollup charges
    - test_traps.test_fees_are_per_gas_and_nothing_is_said_of_what_a_transaction_costs
11. Times in seven forms, or none
    - test_exact.test_times
    - test_exact.test_times_in_another_unit_are_refused
    - test_traps.test_a_price_without_a_stamp_has_none
12. News: markup, campaigns, the same story in several feeds
    - news.test_urls.test_links_to_one_page_are_one
    - news.test_plain.test_text_is_plain
    - news.test_cleaning.test_a_time_that_cannot_be_is_none_and_never_now
    - news.test_merging.test_stories_of_one_title_within_48_hours_are_one_of_the_first_publisher
    - news.test_merging.test_an_edited_story_has_its_latest_text_and_its_first_time
13. Pages of content networks where an answer is due
    - test_classify.test_by_what_is_said
    - test_simulated_rows.test_what_is_no_answer_is_transient
14. Keys in paths, queries and answers
    - test_requests.test_keys_stand_in_their_place_and_are_not_shown
    - test_requests.test_what_providers_repeat_of_a_key_is_hidden
    - test_client.test_no_key_is_told
    - test_client.test_a_redirect_to_another_host_takes_no_key_along
    - test_secrets.test_no_key_appears_anywhere_whatever_happens
15. Aggregates copy each other
    - test_plausible.test_who_copies_is_no_second_source
16. Limits are of an address, and all processes of it share them
    - test_gate.test_many_at_once_stay_within_the_budget
    - test_gate.test_another_address_is_not_paused_and_has_its_own_budget
    - test_client.test_perpetuals_are_asked_within_the_collectors_budget
    - test_client.test_a_limit_of_an_exchange_pauses_the_collector_too
17. Three indices of one name, which change once a day
    - test_traps.test_each_index_has_a_name_of_its_own_and_its_own_label
    - tests.stores.cold.providers.test_tables.test_an_index_that_changes_once_a_day_is_one_row_a_day
18. Prices of 0, of a thousand times, and stablecoins that are none
    - test_exact.test_prices_are_above_zero
    - test_plausible.test_a_jump_is_not_believed_and_its_teller_is_a_liar
    - test_plausible.test_a_jump_that_two_tell_is_believed
    - test_plausible.test_a_stablecoin_off_its_peg_needs_two
    - test_plausible.test_a_stablecoin_that_moves_a_little_is_held_where_it_leaves_its_peg
    - test_hour_of_faults.test_one_living_member_answers_truly_whatever_happens_to_the_others
"""

import dataclasses
import re
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pytest

from config import load_settings
from providers import registry
from providers.classify import classify
from providers.errors import ErrorClass, ProviderError
from providers.paths import placeholders
from providers.questions import Kind
from providers.records import GasPrice, Price, Record
from providers.registry import Registry
from providers.resources import Resource, State
from tests.providers.making import NOW_MS, read

_ROOT = Path(__file__).resolve().parents[2]
# Symbols are the names of pairs at exchanges. At aggregates they are those of many coins; mempool
# tells of Bitcoin alone.
_BY_SYMBOL = ("symbol", "lunarcrush")
_ONE_COIN = ("price.aggregate/mempool",)


@pytest.fixture(scope="module")
def rows() -> Registry:
    return registry.load(load_settings())


def test_every_trap_has_its_tests() -> None:
    found: dict[int, list[str]] = {}
    for line in (__doc__ or "").splitlines():
        if trap := re.fullmatch(r"\s*(\d+)\. \S.*", line):
            found[int(trap[1])] = []
        elif test := re.fullmatch(r"    - (\S+)", line):
            found[max(found)].append(test[1])
    assert list(found) == list(range(1, 19))
    for number, tests in found.items():
        assert tests, f"trap {number} has no test"
        for name in tests:
            module, _, function = name.rpartition(".")
            where = module if module.startswith("tests.") else f"tests.providers.{module}"
            assert callable(getattr(import_module(where), function, None)), f"no test {name}"


def test_aggregates_are_never_asked_by_symbol(rows: Registry) -> None:
    for row in rows.resources:
        if not row.chain.startswith("price.aggregate") or row.id in _ONE_COIN:
            continue
        names = set(placeholders(str(row.read.get("id", ""))))
        assert not names.intersection(_BY_SYMBOL), row.id
        assert "symbols" not in row.query, row.id


@pytest.mark.parametrize(
    ("id_", "body", "change"),
    [
        (
            "price.aggregate/coingecko",
            '{"bitcoin":{"usd":76975,"usd_24h_change":-1.4}}',
            "-0.014",
        ),
        (
            "price.spot/bybit_spot",
            '{"retCode":0,"result":{"list":[{"symbol":"BTCUSDT","lastPrice":"7","price24hPcnt":'
            '"0.0068"}]}}',
            "0.0068",
        ),
    ],
)
def test_changes_are_fractions_whatever_the_provider_tells(
    rows: Registry, id_: str, body: str, change: str
) -> None:
    row = rows.resource(id_)
    quote = "USD" if "aggregate" in id_ else "USDT"
    (price,) = read(row, body, "btc", quote=quote)
    assert price.change_24h == Decimal(change)


@pytest.mark.parametrize(
    ("id_", "body", "due"),
    [
        ("price.spot/kraken", '{"error":["EGeneral:Too many requests"]}', "rate_limited"),
        ("price.spot/kraken", '{"error":["EQuery:Unknown asset pair"]}', "unknown"),
        ("price.spot/okx_spot", '{"code":"50011","msg":"Too Many Requests","data":[]}', None),
        ("price.spot/bybit_spot", '{"retCode":10001,"retMsg":"params error","result":{}}', None),
        (
            "price.aggregate/cmc_keyless",
            '{"status":{"error_code":"1011","error_message":"IP limit"}}',
            "rate_limited",
        ),
        ("price.aggregate/defillama", '{"coins":{}}', "unknown"),
        (
            "price.aggregate/coindesk_data",
            '{"Response":"Error","Message":"You are over your rate limit","Type":99}',
            "rate_limited",
        ),
        (
            "news/newsapi",
            '{"status":"error","code":"rateLimited","message":"too many"}',
            None,
        ),
        ("balance.ethereum/blockchair", '{"data":null,"context":{"code":402,"error":"no"}}', None),
    ],
)
def test_an_error_with_status_200_is_none_of_the_answers(
    rows: Registry, id_: str, body: str, due: str | None
) -> None:
    row = rows.resource(id_)
    error = _error_of(row, body)
    assert error is not None
    assert due is None or error.error_class is ErrorClass(due)


def _error_of(row: Resource, body: str) -> ProviderError | None:
    """What the class or the reader says of an answer with status 200."""
    found = classify(row, 200, {"Content-Type": "application/json"}, body.encode(), NOW_MS)
    if found is not None:
        return found
    subject = "*" if row.kind is Kind.NEWS else "btc" if row.kind is Kind.PRICE else "0xAb"
    quote = {"quote": "USDT" if "spot" in row.chain else "USD"} if row.kind is Kind.PRICE else {}
    try:
        read(row, body, subject, **quote)
    except ProviderError as error:
        return error
    return None


def test_fees_are_per_gas_and_nothing_is_said_of_what_a_transaction_costs() -> None:
    """A rollup charges for its data on Ethereum, too: no total is told that would leave it out."""
    known = {each.name for each in dataclasses.fields(Record)} | {"chain", "chain_id", "block"}
    for name in {each.name for each in dataclasses.fields(GasPrice)} - known:
        assert re.fullmatch(r"(base_fee|(priority|max_fee)_\w+)_wei|fee_\w+_sat_per_kvb", name)
    page = (_ROOT / "docs" / "providers.md").read_text()
    assert "data fee" in page


@pytest.mark.parametrize(
    ("id_", "body"),
    [
        ("price.spot/kraken", '{"error":[],"result":{"BTC/USD":{"c":["60000.1","1"]}}}'),
        ("price.spot/coinbase", '{"data":{"currency":"BTC","rates":{"USD":"60000.1"}}}'),
    ],
)
def test_a_price_without_a_stamp_has_none(rows: Registry, id_: str, body: str) -> None:
    (price,) = read(rows.resource(id_), body, "btc", quote="USD")
    assert isinstance(price, Price)
    assert (price.value, price.as_of_ms, price.fetched_at_ms) == (Decimal("60000.1"), None, NOW_MS)


def test_each_index_has_a_name_of_its_own_and_its_own_label(rows: Registry) -> None:
    metrics: dict[str, set[str]] = {}
    for row in rows.resources:
        if row.chain == "sentiment.market" and row.state is not State.DEAD:
            metrics.setdefault(str(row.read["metric"]), set()).add(row.provider.id[:3])
            assert row.read.get("label"), row.id
            assert row.ttl_s >= 900, f"{row.id} is asked too often for what changes once a day"
    assert {"fear_greed_altme", "fear_greed_cmc", "fear_greed_cfgi"} <= metrics.keys()
    assert all(len(whose) == 1 for whose in metrics.values()), metrics
