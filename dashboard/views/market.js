// The view Market: one market's candles, open interest and funding on its exchanges, as they are now
// and come, or as they were known at a time.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { announce } from "../lib/announce.js";
import { html } from "../lib/html.js";
import { ago, plural, utc } from "../lib/format.js";
import { usePolled } from "../lib/polled.js";
import { href } from "../lib/route.js";
import { useNow, useStatus } from "../lib/status.js";
import { Badge, ErrorBox, Loading } from "../lib/ui.js";
import { AsOf } from "./market/as_of.js";
import { Choice } from "./market/choice.js";
import { ChartGroup, ExchangeChart } from "./market/exchange_chart.js";
import { named } from "./market/exchanges.js";
import { useMarket } from "./market/feed.js";
import { Live } from "./market/lateness.js";
import { LastCandles, sentence } from "./market/last_candle.js";
import { exact, mostDecimals, plain } from "./market/numbers.js";
import { RowsTable } from "./market/rows_table.js";
import { COINS_S, MarketSearch } from "./market/search.js";
import { coinOf } from "./markets/coins.js";
import { gridOf, holesIn, PRICES } from "./market/series.js";

const TIMEFRAMES = ["5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"];
const LIKED = ["4h", "1h", "15m", "5m"]; // what is shown first, if it is collected
const FIRST_SYMBOL = "BTCUSDT";

export default function Market({ route }) {
  const { data: status } = useStatus();
  const documents = status?.documents ?? {};
  const isCollected = (timeframe) => Boolean(documents[timeframe]);
  const symbol = (route.parts[0] ?? FIRST_SYMBOL).toUpperCase();
  const timeframe = route.parts[1] ?? (status ? LIKED.find(isCollected) ?? "4h" : null);
  const exchanges = Object.keys(status?.exchanges ?? {});
  if (timeframe !== null && !TIMEFRAMES.includes(timeframe)) return html`<${NoTimeframe} ...${{ symbol, timeframe }} />`;
  if (timeframe === null || (status && exchanges.length === 0)) return html`<${Loading} what="Asking what is collected" />`;
  const asOf = /^\d+$/.test(route.query.as_of ?? "") ? Number(route.query.as_of) : null;
  const asked = new Set(route.query.exchanges?.split(","));
  const chosen = exchanges.filter((each) => asked.has(each));
  const go = (next, nextTimeframe = timeframe) => route.go([next, nextTimeframe]);
  return html`
    <h1 class="unseen" tabindex="-1">${symbol}, ${timeframe}</h1>
    <div class="cards">
      <div class="controls card">
        <${MarketSearch} symbol=${symbol} onChoose=${(next) => go(next)} />
        <${Choice} label="Timeframe" name="timeframe" current=${timeframe} onChange=${(next) => go(symbol, next)}
          options=${TIMEFRAMES.map((each) => ({ value: each, title: each, isDim: status && !isCollected(each), hint: status && !isCollected(each) ? "not collected yet" : undefined }))} />
        <${Choice} label="Exchanges" name="exchanges" current=${chosen.length === 1 ? chosen[0] : "all"}
          onChange=${(next) => route.set({ exchanges: next === "all" ? null : next })}
          options=${[{ value: "all", title: "All" }, ...exchanges.map((each) => ({ value: each, title: named(each) }))]} />
      </div>
      ${exchanges.length === 0
        ? html`<${Loading} what="Asking what is collected" />`
        : html`<${OneMarket} ...${{ symbol, timeframe, asOf, exchanges, route }} shown=${chosen.length > 0 ? chosen : exchanges} />`}
    </div>
  `;
}

function OneMarket({ symbol, timeframe, asOf, exchanges, shown, route }) {
  const feed = useMarket({ symbol, timeframe, asOf, exchanges });
  const [at, setAt] = useState(null);
  const group = useRef(null);
  group.current ??= new ChartGroup();
  const { head, markets } = feed;
  const there = shown.filter((exchange) => markets[exchange]?.isThere);
  const series = there.map((exchange) => markets[exchange].rows);
  const grid = useMemo(() => (head ? gridOf(series, head.intervalMs) : []), [head?.intervalMs, ...series]);
  const decimals = useMemo(
    () => Object.fromEntries(there.map((exchange) => [exchange, mostDecimals(markets[exchange].rows.slice(-500), PRICES)])),
    series,
  );
  const closed = useRef(null);
  useEffect(() => {
    const isNew = closed.current !== null && head !== null && head.lastClosed > closed.current;
    if (isNew && feed.asOf === null) announce(`The ${timeframe} candle of ${utc(head.lastClosed)} UTC has closed`);
    closed.current = feed.asOf === null ? head?.lastClosed ?? null : null;
  }, [head?.lastClosed, feed.asOf]);
  if (head === null) {
    if (feed.error) return html`<${NothingToShow} ...${{ feed, symbol, timeframe, route }} />`;
    return html`<${Loading} what="Reading ${symbol} ${timeframe}" />`;
  }
  return html`
    <${AsOf} ...${{ timeframe, asOf }} since=${feed.knownSince} intervalMs=${head.intervalMs} shown=${head} isLoading=${feed.isLoading}
      onChange=${(ms) => route.set({ as_of: ms })} />
    <${Freshness} feed=${feed} coin=${there.length > 0 ? coinOf(markets[there[0]].base) : null} />
    ${feed.error && html`<${ErrorBox} error=${feed.error} retry=${feed.reload} what=${asOf === null ? "The newest numbers cannot be read; these are from before" : "That time cannot be shown; this is from another one"} />`}
    <div class="exchanges exchanges-${there.length}" aria-busy=${feed.isLoading ? "true" : "false"}>
      ${there.map(
        (exchange) => html`
          <${OneExchange}
            key=${`${exchange} ${symbol} ${timeframe}`}
            ...${{ exchange, head, grid, at }}
            asOf=${feed.asOf}
            market=${markets[exchange]}
            decimals=${decimals[exchange]}
            revisions=${feed.revisions[exchange]}
            group=${group.current}
            onPoint=${setAt}
            onBegin=${feed.loadOlder}
          />
        `,
      )}
    </div>
    ${shown
      .filter((exchange) => !markets[exchange]?.isThere)
      .map((exchange) => html`<${Absent} key=${exchange} exchange=${exchange} market=${markets[exchange]} ...${{ symbol, timeframe }} />`)}
  `;
}

/** When what is shown was collected, in UTC and here; and the way to the coin on all exchanges. */
function Freshness({ feed, coin }) {
  const now = useNow(1);
  const { head, asOf } = feed;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const offset = -new Date(head.updatedAt).getTimezoneOffset();
  const here = offset === 0 ? "" : ` (${new Date(head.updatedAt).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })} in ${zone})`;
  return html`
    <p class="note fresh">
      ${asOf === null && html`<${Live} head=${head} now=${now} />`}
      Exchange time ${" "}<time datetime=${new Date(head.asOf).toISOString()}>${utc(head.asOf, "seconds")} UTC</time>, published
      ${" "}<time datetime=${new Date(head.updatedAt).toISOString()}>${utc(head.updatedAt, "time")} UTC</time>${here}${asOf === null ? `, ${ago(head.updatedAt, now)}` : ""}.
      ${feed.isOlderLoading && " Reading older candles …"}
      ${feed.olderError && ` Older candles cannot be read: ${feed.olderError.detail}.`}
      ${Object.values(feed.revisions).includes(null) && " Corrections cannot be told: the record cannot be read."}
      ${coin !== null && html` <a href=${href("assets", [coin])}>${coin} over exchanges</a>`}
    </p>
  `;
}

function OneExchange({ exchange, market, head, grid, decimals, revisions, asOf, at, group, onPoint, onBegin }) {
  const name = named(exchange);
  const holes = holesIn(market.rows, head.intervalMs);
  const last = market.rows.at(-1);
  return html`
    <section class="card exchange" aria-labelledby="exchange-${exchange}" data-exchange=${exchange}>
      <div class="card-head">
        <h2 id="exchange-${exchange}">${name}
          ${last && html` <data value=${plain(last.close)} class="headline">${exact(last.close, decimals)}</data> <span class="muted">${market.quote}</span>`}
        </h2>
        <div class="card-actions">
          ${market.staleSince !== null && html`<${Badge} level="critical">not renewed since ${utc(market.staleSince)} UTC<//>`}
          ${market.missing.map(({ part, reason }) => html`<${Badge} key=${part + reason} level="warning" title=${reason}>${part.replace("_", " ")} missing: ${reason}<//>`)}
          ${holes > 0 && html`<${Badge} level="info" title="instants without a candle, shown as gaps">${plural(holes, "hole")}<//>`}
          ${revisions?.size > 0 && html`<${Badge} level="info" title="marked R in the chart">${plural(revisions.size, "corrected candle")}<//>`}
        </div>
      </div>
      <${ExchangeChart} ...${{ name, market, grid, decimals, revisions, asOf, at, group, onPoint, onBegin }} lastClosed=${head.lastClosed} />
      <p class="said">${sentence(market, head, decimals)}</p>
      <${LastCandles} ...${{ name, market, head, decimals }} />
      <${RowsTable} ...${{ name, market, decimals, revisions, asOf }} lastClosed=${head.lastClosed} />
    </section>
  `;
}

/** A market that one of the exchanges does not have, or that could not be collected. */
function Absent({ exchange, market, symbol, timeframe }) {
  const { data } = usePolled("coins", COINS_S);
  const why = market?.missing?.map(({ part, reason }) => `${part.replace("_", " ")}: ${reason}`).join("; ");
  const coins = data?.coins ?? [];
  const base = coins.find((coin) => coin.symbol === symbol)?.base;
  const alike = coins.filter(
    (coin) => base && coin.exchange === exchange && coin.symbol !== symbol && coinOf(coin.base) === coinOf(base),
  );
  return html`<p class="note absent">
    ${named(exchange)}: ${why ? `${symbol} is missing in ${timeframe}: ${why}.` : `no ${symbol} in ${timeframe}; it is not listed there, or not collected.`}
    ${alike.map((coin) => html` <a key=${coin.symbol} href=${href("market", [coin.symbol, timeframe])}>${coin.symbol}</a>`)}
    ${alike.length > 0 && " is of the same coin."}
  </p>`;
}

/** An address that names a timeframe that there is not. */
function NoTimeframe({ symbol, timeframe }) {
  return html`
    <h1 tabindex="-1">${symbol}</h1>
    <div class="box box-warning" role="alert">
      <p><strong>There is no timeframe ${timeframe}.</strong> There are:${TIMEFRAMES.map((each) => html` <a key=${each} href=${href("market", [symbol, each])}>${each}</a>`)}</p>
    </div>
  `;
}

function NothingToShow({ feed, symbol, timeframe, route }) {
  const { error } = feed;
  const near = [...(error.detail ?? "").matchAll(/\b[A-Z0-9]{3,}USD[TC]\b/g)].map(([found]) => found);
  const isOfTime = error.status === 422 && route.query.as_of !== undefined;
  if (error.status !== 404 && !isOfTime) return html`<${ErrorBox} error=${error} retry=${feed.reload} what="${symbol} ${timeframe} cannot be read" />`;
  return html`
    <div class="box box-warning" role="alert">
      <p><strong>Nothing to show of ${symbol} in ${timeframe}:</strong> ${timed(error.detail)}.</p>
      ${near.length > 0 && html`<p>${near.map((each) => html`<a key=${each} href=${href("market", [each, timeframe])}>${each}</a> `)}</p>`}
      ${route.query.as_of && html`<p><a href=${href("market", [symbol, timeframe])}>Show it as it is now</a></p>`}
    </div>
  `;
}

/** The API's words, with its times (ms) as times. */
const timed = (text) => text.replace(/\b\d{13}\b/g, (ms) => `${utc(Number(ms), "seconds")} UTC`);
