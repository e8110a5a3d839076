"""How providers word their errors: one table for each family, by the class of the error."""

from collections.abc import Mapping
from typing import Final

from simulator.providers.sites import ErrorBody

_ACCESS_DENIED: Final = (
    "<!DOCTYPE html><html><head><title>Access denied | api.example used Cloudflare to restrict "
    "access</title></head><body><h1>Error 1020</h1><p>Access denied</p><p>This website is using a "
    "security service to protect itself from online attacks.</p><p>Cloudflare Ray ID: "
    "8f0c2d1e4b5a6978</p></body></html>"
)
CHALLENGE: Final = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>"
    "<noscript>Enable JavaScript and cookies to continue</noscript></body></html>"
)
HTML: Final = "text/html; charset=UTF-8"
TEXT: Final = "text/plain; charset=utf-8"
Dialect = Mapping[str, ErrorBody]

CLOUDFLARE: Final = ErrorBody(
    403, _ACCESS_DENIED, HTML, {"Server": "cloudflare", "CF-RAY": "8f0c2d1e4b5a6978-FRA"}
)
# What web servers say that have no words of their own.
PLAIN: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"error":"Too Many Requests"}'),
    "quota_spent": ErrorBody(402, '{"error":"Payment Required"}'),
    "key_rejected": ErrorBody(401, '{"error":"Unauthorized"}'),
    "plan_forbids": ErrorBody(403, '{"error":"Forbidden"}'),
    "geo_blocked": CLOUDFLARE,
    "caller_fault": ErrorBody(400, '{"error":"Bad Request"}'),
}
BINANCE: Final[Dialect] = {
    "rate_limited": ErrorBody(
        429, '{"code":-1003,"msg":"Too many requests; current limit of IP(127.0.0.1) is 6000 '
        'requests per minute."}', headers={"Retry-After": "30"},
    ),
    "geo_blocked": ErrorBody(
        451, '{"code":0,"msg":"Service unavailable from a restricted location according to '
        "'b. Eligibility' in https://www.binance.com/en/terms.\"}",
    ),
    "caller_fault": ErrorBody(400, '{"code":-1121,"msg":"Invalid symbol."}'),
}  # fmt: skip
BYBIT: Final[Dialect] = {
    "rate_limited": ErrorBody(
        200, '{"retCode":10006,"retMsg":"Too many visits!","result":{},"retExtInfo":{},"time":0}'
    ),
    "geo_blocked": ErrorBody(403, "The Amazon CloudFront distribution is configured to block "
                             "access from your country.", HTML),
    "caller_fault": ErrorBody(
        200, '{"retCode":10001,"retMsg":"params error","result":{},"retExtInfo":{},"time":0}'
    ),
}  # fmt: skip
OKX: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"code":"50011","msg":"Too Many Requests","data":[]}'),
    "caller_fault": ErrorBody(200, '{"code":"51000","msg":"Parameter instType error","data":[]}'),
}
KRAKEN: Final[Dialect] = {
    "rate_limited": ErrorBody(200, '{"error":["EAPI:Rate limit exceeded"]}'),
    "caller_fault": ErrorBody(200, '{"error":["EQuery:Unknown asset pair"]}'),
    "geo_blocked": CLOUDFLARE,
}
COINBASE: Final[Dialect] = {
    "rate_limited": ErrorBody(
        429, '{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}'
    ),
    "caller_fault": ErrorBody(
        400, '{"errors":[{"id":"invalid_request","message":"Currency is invalid"}]}'
    ),
}
COINGECKO: Final[Dialect] = {
    "rate_limited": ErrorBody(
        429, '{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit. Please '
        'visit https://www.coingecko.com/en/api/pricing to subscribe to our API plans for higher '
        'rate limits."}}', headers={"Retry-After": "60"},
    ),
    "key_rejected": ErrorBody(
        401, '{"status":{"error_code":10002,"error_message":"API Key Missing"}}'
    ),
    "plan_forbids": ErrorBody(
        401, '{"error":{"status":{"error_code":10005,"error_message":"This request is limited to '
        'PRO API subscribers."}}}',
    ),
    "geo_blocked": CLOUDFLARE,
}  # fmt: skip
COINPAPRIKA: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"error":"too many requests"}'),
    "quota_spent": ErrorBody(402, '{"error":"payment required: monthly quota exceeded"}'),
    "key_rejected": ErrorBody(401, '{"error":"invalid API key"}'),
}


def _cmc(status: int, code: int, message: str, *, text: bool) -> ErrorBody:
    shown = f'"{code}"' if text else str(code)
    return ErrorBody(
        status, '{"status":{"timestamp":"2026-01-01T00:00:00.000Z","error_code":' + shown
        + f',"error_message":"{message}","elapsed":0,"credit_count":0' + "}}",
    )  # fmt: skip


CMC: Final[Dialect] = {
    "rate_limited": _cmc(429, 1008, "You've exceeded your API Key's HTTP request rate limit.",
                         text=False),
    "quota_spent": _cmc(429, 1010, "You've exceeded your API Key's monthly credit limit.",
                        text=False),
    "key_rejected": _cmc(401, 1001, "This API Key is invalid.", text=False),
    "no_key": _cmc(401, 1002, "API key missing.", text=False),
    "plan_forbids": _cmc(403, 1006, "Your API Key subscription plan doesn't support this endpoint.",
                         text=False),
    "caller_fault": _cmc(400, 400, "Invalid value for id", text=False),
}  # fmt: skip
# Without a key the code is a text, and refusals come with 200.
CMC_KEYLESS: Final[Dialect] = {
    "rate_limited": _cmc(200, 1011, "You've hit an IP rate limit.", text=True),
    "caller_fault": _cmc(400, 400, "Invalid value for id", text=True),
}
CRYPTOCOMPARE: Final[Dialect] = {
    "rate_limited": ErrorBody(
        200, '{"Response":"Error","Message":"You are over your rate limit please upgrade your '
        'account!","HasWarning":false,"Type":99,"RateLimit":{"calls_made":{"second":1,"minute":1,'
        '"hour":1,"day":1,"month":250001},"max_calls":{"second":20,"minute":300,"hour":3000,'
        '"day":7500,"month":250000}},"Data":{}}',
    ),
    "key_rejected": ErrorBody(
        200, '{"Response":"Error","Message":"You need a valid auth key or api key to access this '
        'endpoint","HasWarning":false,"Type":1,"RateLimit":{},"Data":{}}',
    ),
    "caller_fault": ErrorBody(
        200, '{"Response":"Error","Message":"cccagg_or_exchange market does not exist for this '
        'coin pair","HasWarning":false,"Type":2,"RateLimit":{},"Data":{}}',
    ),
}  # fmt: skip
COINDESK_DATA: Final[Dialect] = {
    "rate_limited": ErrorBody(
        200, '{"Data":[],"Err":{"type":99,"message":"You are over your rate limit"}}'
    ),
    "key_rejected": ErrorBody(
        401, '{"Data":[],"Err":{"type":1,"message":"You need a valid API key"}}'
    ),
}
DIA: Final[Dialect] = {
    "caller_fault": ErrorBody(404, '{"errorcode":404,"errormessage":"asset not found"}'),
}
COINSTATS: Final[Dialect] = {
    "rate_limited": ErrorBody(429, "Too Many Requests", TEXT),
    "quota_spent": ErrorBody(402, "Credits limit exceeded", TEXT),
    "key_rejected": ErrorBody(401, "Unauthorized", TEXT),
}
MESSARI: Final[Dialect] = {
    "key_rejected": ErrorBody(401, '{"error":"unauthorized","data":null}'),
    "plan_forbids": ErrorBody(402, '{"error":"payment required","data":null}'),
}
ALCHEMY: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"error":{"message":"Your app has exceeded its compute units '
                              'per second capacity."}}'),
    "key_rejected": ErrorBody(401, "Must be authenticated!", TEXT),
    "caller_fault": ErrorBody(400, '{"error":{"message":"Invalid network"}}'),
}  # fmt: skip
CRYPTOPANIC: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"error":"rate limit exceeded"}',
                              headers={"Retry-After": "60"}),
    "key_rejected": ErrorBody(401, '{"error":"invalid auth_token"}'),
    "plan_forbids": ErrorBody(403, '{"error":"API plan does not allow this request"}'),
}  # fmt: skip
NEWSAPI: Final[Dialect] = {
    "rate_limited": ErrorBody(
        429, '{"status":"error","code":"rateLimited","message":"You have made too many requests '
        'recently."}',
    ),
    "key_rejected": ErrorBody(
        401, '{"status":"error","code":"apiKeyInvalid","message":"Your API key is invalid or '
        'incorrect."}',
    ),
    "no_key": ErrorBody(
        401, '{"status":"error","code":"apiKeyMissing","message":"Your API key is missing."}'
    ),
    "plan_forbids": ErrorBody(
        426, '{"status":"error","code":"parameterInvalid","message":"You are trying to request '
        'results too far in the past. Your plan permits you to request articles as far back as '
        'yesterday."}',
    ),
    "caller_fault": ErrorBody(
        200, '{"status":"error","code":"parameterInvalid","message":"The parameter is invalid."}'
    ),
}  # fmt: skip
CFGI: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"error":"Max 1 request per second."}'),
    "quota_spent": ErrorBody(402, '{"error":"No credits left."}'),
    "key_rejected": ErrorBody(401, '{"error":"Invalid API key."}'),
}
FNG: Final[Dialect] = {
    "rate_limited": ErrorBody(429, "Too many requests", TEXT),
    "caller_fault": ErrorBody(
        200, '{"name":"Fear and Greed Index","data":[],"metadata":{"error":"invalid limit"}}'
    ),
}


def _notok(text: str) -> ErrorBody:
    return ErrorBody(200, '{"status":"0","message":"NOTOK","result":"' + text + '"}')


ETHERSCAN: Final[Dialect] = {
    "rate_limited": _notok("Max calls per sec rate limit reached (3/sec)"),
    "quota_spent": _notok("Max daily rate limit reached. 110000 (100%) of 100000 day/limit"),
    "key_rejected": _notok("Invalid API Key"),
    "no_key": _notok("Missing/Invalid API Key"),
    "plan_forbids": _notok(
        "Free API access is not supported for this chain. Please upgrade your api plan for full "
        "chain coverage. https://etherscan.io/apis"
    ),
    "caller_fault": _notok("Error! Invalid address format"),
}
BLOCKSCOUT: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"message":"Too many requests","result":null,"status":"0"}',
                              headers={"x-ratelimit-reset": "30000"}),
    "quota_spent": ErrorBody(402, '{"error":"Payment Required","message":"Credits exhausted"}'),
    "key_rejected": ErrorBody(401, '{"error":"Unauthorized","message":"Invalid API key"}'),
    "caller_fault": ErrorBody(200, '{"message":"Invalid address hash","result":null,"status":"0"}'),
}  # fmt: skip
ROUTESCAN: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"status":"0","message":"NOTOK","result":"Max rate limit '
                              'reached"}', headers={"x-ratelimit-rpm-remaining": "0"}),
    "caller_fault": _notok("Error! Invalid address format"),
}  # fmt: skip
ETHPLORER: Final[Dialect] = {
    "rate_limited": ErrorBody(
        429, '{"error":{"code":133,"message":"API key request limits reached"}}'
    ),
    "key_rejected": ErrorBody(401, '{"error":{"code":1,"message":"Invalid API key"}}'),
    "caller_fault": ErrorBody(400, '{"error":{"code":104,"message":"Invalid address format"}}'),
}


def _blockchair(status: int, error: str) -> ErrorBody:
    return ErrorBody(
        status, '{"data":null,"context":{"code":' + str(status) + f',"error":"{error}"' + "}}"
    )


BLOCKCHAIR: Final[Dialect] = {
    "rate_limited": _blockchair(435, "Your API token is throttled"),
    "quota_spent": _blockchair(402, "You have exceeded the daily limit of requests"),
    "geo_blocked": _blockchair(430, "Your IP address has been temporarily blocked"),
    "caller_fault": _blockchair(400, "Invalid address"),
}
GRAPHQL: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"errors":[{"message":"Too many requests"}]}'),
    "quota_spent": ErrorBody(200, '{"data":null,"errors":[{"message":"Points limit exceeded"}]}'),
    "key_rejected": ErrorBody(401, '{"errors":[{"message":"Unauthorized"}]}'),
    "caller_fault": ErrorBody(200, '{"errors":[{"message":"Cannot query field"}]}'),
}
TRONGRID: Final[Dialect] = {
    "rate_limited": ErrorBody(
        403, '{"success":false,"error":"The key exceeds the frequency limit(15), and the query '
        'server is suspended for 30s","statusCode":403}',
    ),
    "key_rejected": ErrorBody(401, '{"success":false,"error":"Invalid API key","statusCode":401}'),
    "caller_fault": ErrorBody(
        200, '{"Error":"class org.tron.core.services.http.JsonFormat$ParseException : INVALID '
        'hex String"}',
    ),
}  # fmt: skip
ESPLORA: Final[Dialect] = {
    "rate_limited": ErrorBody(429, "Too Many Requests", TEXT),
    "caller_fault": ErrorBody(400, "Invalid Bitcoin address", TEXT),
}
BLOCKCHAIN_INFO: Final[Dialect] = {
    "rate_limited": ErrorBody(429, "Too Many Requests - please back off", TEXT),
    "caller_fault": ErrorBody(
        400, '{"error":"invalid-address","message":"Invalid Bitcoin Address"}'
    ),
}
BLOCKCYPHER: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"error":"Limits reached."}'),
    "caller_fault": ErrorBody(400, '{"error":"Address invalid: checksum does not match"}'),
}
WHALE_ALERT: Final[Dialect] = {
    "rate_limited": ErrorBody(429, '{"error":"usage limit reached"}'),
    "key_rejected": ErrorBody(401, '{"error":"unauthorized"}'),
    "plan_forbids": ErrorBody(403, '{"error":"forbidden: this endpoint needs an Enterprise plan"}'),
    "caller_fault": ErrorBody(422, '{"error":"start_height out of range"}'),
}


def _rpc(status: int, code: int, message: str) -> ErrorBody:
    body = '{"jsonrpc":"2.0","id":1,"error":{"code":' + str(code) + f',"message":"{message}"' + "}}"
    return ErrorBody(status, body)


JSON_RPC: Final[Dialect] = {
    "rate_limited": _rpc(200, -32005, "limit exceeded"),
    "key_rejected": _rpc(
        200, -32000, "Unauthorized: You must authenticate your request with an API key."
    ),
    "caller_fault": _rpc(200, -32602, "invalid argument 0: hex string has length 38, want 40"),
}
# The official nodes of BSC say "limit exceeded" of eth_getLogs, which is off there.
BSC: Final[Dialect] = {**JSON_RPC, "rate_limited": PLAIN["rate_limited"]}
INFURA: Final[Dialect] = {
    **JSON_RPC,
    "rate_limited": _rpc(429, -32005, "project ID request rate exceeded"),
    "quota_spent": ErrorBody(
        402, '{"jsonrpc":"2.0","id":1,"error":{"code":402,"event":-33000,"message":"Exceeded '
        'daily credits"}}',
    ),
    "key_rejected": ErrorBody(401, "invalid project id", TEXT),
}  # fmt: skip
