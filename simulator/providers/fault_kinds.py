"""The kinds of faults of simulated providers, by the names that rules have for them."""

from typing import Final

# The provider's own words for a class of error.
ERRORS: Final = {
    "rate_limited": "too many requests; `retry_after` seconds",
    "quota_spent": "the day's or month's calls are spent",
    "key_rejected": "the key is wrong, or missing",
    "plan_forbids": "the plan does not include this",
    "geo_blocked": "the country is blocked",
    "caller_fault": "the request is wrong",
}
# Answers that are none, the same from every provider.
BROKEN: Final = {
    "transient": "any of reset, 500, 502, 503, 504, truncated and html, by chance",
    "status": "an error page with `status`",
    "reset": "the connection is cut",
    "hang": "no answer for `seconds_each` (60), then the connection is cut",
    "slow": "the answer, `seconds_each` (5) late",
    "truncated": "the first half of the body",
    "html": "200 and a web page",
    "challenge": "200 and the page of a content network that asks for a browser",
    "empty": "200 with an empty body",
    "bad_payload": "values that cannot be: `variant` nan, zero, negative, bool, types or doctype",
    "recorded": "the recorded body of this `file`, needs --recorded",
}
# Answers that look right.
LIES: Final = {
    "unknown": "it knows nothing that is asked about",
    "wrong_value": "its values are `factor` (1000) times the true ones; of these `assets` alone",
    "stale": "all of it is as it was `age_s` (3600) ago, its stamps too",
    "lagging": "its nodes are `blocks` (100) behind",
    "wrong_chain": "its nodes are of another chain",
}
KINDS: Final = {**ERRORS, **BROKEN, **LIES}
TRANSIENT: Final = ("reset", "500", "502", "503", "504", "truncated", "html")
VARIANTS: Final = ("nan", "zero", "negative", "bool", "types", "doctype")
ECHOING: Final = (*ERRORS, "status", "bad_payload")  # what may repeat the request
