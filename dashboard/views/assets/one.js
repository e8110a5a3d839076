// One asset: its figures over exchanges, those of each market, and what is left out of them.
import { age, compact, number, percent, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Badge, Card, ErrorBox, Loading, Table } from "../../lib/ui.js";
import { named } from "../market/exchanges.js";
import { exact, exactPercent, plain } from "../market/numbers.js";
import { coloured } from "../markets/coloured.js";
import { MEASURES, signed } from "../markets/scale.js";
import { useOverview } from "./feed.js";
import { Freshness } from "./freshness.js";
import { among, listed, Meanings, priced, timed, unknown } from "./words.js";

const SPANS = ["1h", "4h", "24h"];
const DAY_CANDLES = 288;
const measureOf = (key) => MEASURES.find((each) => each.key === key);

/** `name`: of the asset, a base or a symbol; `timeframe`: of the charts that it leads to. */
export function OneAsset({ name, timeframe }) {
  const { data, error, reload } = useOverview(`market/${encodeURIComponent(name)}`);
  return html`
    <p class="back"><a href=${href("assets")}>All assets</a></p>
    <h1 tabindex="-1">${data?.asset ?? name} over exchanges</h1>
    ${data === null && !error && html`<${Loading} what="Reading ${name}" />`}
    ${data === null && error && html`<${NotThere} ...${{ name, error, reload }} />`}
    ${data !== null &&
    html`
      <div class="cards">
        <${Freshness} told=${data} />
        ${error && html`<${ErrorBox} error=${error} retry=${reload} what="The newest figures cannot be read; these are from before" />`}
        <${Totals} told=${data} />
        <${Card} title="By exchange" note="Each market’s own figures; the share is of the open interest that is summed.">
          <${Markets} told=${data} timeframe=${timeframe} />
        <//>
        ${data.left_out.length > 0 && html`<${LeftOut} told=${data} timeframe=${timeframe} />`}
        <${Meanings} />
      </div>
    `}
  `;
}

function NotThere({ name, error, reload }) {
  if (error.status !== 404) return html`<${ErrorBox} error=${error} retry=${reload} what="${name} cannot be read" />`;
  return html`<div class="box box-warning" role="alert"><p><strong>Nothing to show of ${name}:</strong> ${error.detail}.</p></div>`;
}

/** What all exchanges have together. */
function Totals({ told }) {
  const { asset, quote, open_interest: interest, change, funding, turnover_24h: turnover, price } = told;
  const all = price.exchanges;
  const tiles = [
    {
      title: "Price",
      value: price.median === null ? null : priced(price.median),
      note: price.median === null ? "no market tells it" : `${quote}, median of ${plural(all.length, "exchange")}`,
    },
    {
      title: "Spread",
      value: price.spread_bps === null ? null : html`<data value=${plain(price.spread_bps)}>${number(price.spread_bps, 2)} bp</data>`,
      note: price.spread_bps === null ? "takes two prices" : `from ${named(price.lowest_exchange)} to ${named(price.highest_exchange)}`,
    },
    {
      title: "Open interest",
      value: amount(interest.quote, quote),
      note: interest.quote === null ? "no market tells it" : html`${amount(interest.coins, asset)}${among(interest.exchanges, all)}`,
    },
    ...SPANS.map((span) => ({
      title: `Change in ${spanOf(span)}`,
      value: change[span] && html`<data value=${change[span].coins_fraction === null ? "" : plain(change[span].coins_fraction)}>${signed(change[span].coins_fraction, 2)}</data>`,
      note: change[span] === null ? "no market tells both ends" : html`${way(change[span].coins)} ${amount(Math.abs(change[span].coins), asset)}; in ${quote} ${signed(change[span].quote_fraction, 2)}${among(change[span].exchanges, all)}`,
    })),
    {
      title: "Funding per 8 h",
      value: funding.rate_8h === null ? null : html`<data value=${plain(funding.rate_8h)}>${signed(funding.rate_8h, 4)}</data>`,
      note: funding.rate_8h === null ? "no market tells it" : `${signed(funding.rate_year, 2)} a year, ${payers(funding.rate_8h)}${among(funding.exchanges, all)}`,
    },
    {
      title: "Turnover in 24 h",
      value: amount(turnover.quote, quote),
      note: turnover.quote === null ? "no market tells it" : `of closed candles${among(turnover.exchanges, all)}${turnover.partial.length > 0 ? `; some of ${listed(turnover.partial)} lack` : ""}`,
    },
  ];
  return html`
    <dl class="tiles asset-tiles">
      ${tiles.map(
        ({ title, value, note }) => html`
          <div class="tile" key=${title}>
            <dt>${title}</dt>
            <dd><span class="tile-value">${value ?? unknown()}</span><span class="tile-note">${note}</span></dd>
          </div>
        `,
      )}
    </dl>
  `;
}

/** A row for each market. */
function Markets({ told, timeframe }) {
  const { asset, quote, markets, open_interest: total } = told;
  const shown = (value, render) => (value === null || value === undefined ? unknown() : render(value));
  const measured = (value, key) => (value === null || value === undefined ? unknown() : coloured(value, measureOf(key)));
  const shareOf = (row) => (row.summed && row.open_interest.quote !== null && total.quote ? row.open_interest.quote / total.quote : null);
  const columns = [
    { key: "exchange", title: "Exchange", sort: (row) => named(row.exchange), render: (row) => html`${named(row.exchange)}${!row.summed && html` <${Badge} level="warning">left out<//>`}` },
    { key: "symbol", title: "Market", sort: (row) => row.symbol, render: (row) => html`<${Way} ...${{ row, asset, timeframe }} />` },
    { key: "price", title: `Price, ${quote}`, hint: "of one coin", align: "right", sort: (row) => row.price, render: (row) => shown(row.price, priced) },
    { key: "interest", title: `OI, ${quote}`, hint: "open interest, one side", align: "right", sort: (row) => row.open_interest.quote, render: (row) => shown(row.open_interest.quote, (value) => html`<span title="${exact(row.open_interest.coins)} ${asset}">${amount(value, quote, false)}</span>`) },
    { key: "share", title: "Share", align: "right", sort: shareOf, render: (row) => shown(shareOf(row), (value) => percent(value, 1)) },
    ...SPANS.map((span) => ({
      key: `change${span}`,
      title: `OI ${spanOf(span)}`,
      hint: `change of open interest, in coins, in ${spanOf(span)}`,
      align: "right",
      sort: (row) => row.change[span]?.coins_fraction,
      render: (row) => measured(row.change[span]?.coins_fraction, `change${span}`),
    })),
    { key: "rate", title: "Funding", hint: "as it was settled last, and how often it is", align: "right", sort: (row) => row.funding?.rate, render: (row) => shown(row.funding, (funding) => html`<${Settled} funding=${funding} />`) },
    { key: "rate8h", title: "Per 8 h", align: "right", sort: (row) => row.funding?.rate_8h, render: (row) => measured(row.funding?.rate_8h, "rate8h") },
    { key: "rateYear", title: "Per year", hint: "not compounded", align: "right", sort: (row) => row.funding?.rate_year, render: (row) => shown(row.funding?.rate_year, (value) => html`<data value=${plain(value)}>${signed(value, 2)}</data>`) },
    { key: "turnover", title: "Turnover 24 h", align: "right", sort: (row) => row.turnover_24h?.quote, render: (row) => shown(row.turnover_24h, ({ quote: value, candles }) => html`${amount(value, quote, false)}${candles < DAY_CANDLES && html` <${Badge} level="info" title="of ${DAY_CANDLES} candles of 5 minutes">${plural(candles, "candle")}<//>`}`) },
  ];
  return html`<${Table} stacked sortable caption="${asset} by exchange" columns=${columns} rows=${markets} sort=${{ key: "interest", down: true }} rowKey=${keyOf} />`;
}

const keyOf = ({ exchange, symbol }) => `${exchange} ${symbol}`;

/** The way to a market's charts, and how many coins its contract counts as one. */
function Way({ row: { exchange, symbol, base, units, stale_since: since }, asset, timeframe }) {
  return html`<a href=${href("market", timeframe ? [symbol, timeframe] : [symbol], { exchanges: exchange })}>${symbol}</a>
    ${units > 1 && html` <span class="muted nowrap" title="one ${base} counts as ${number(units)} ${asset}">× ${number(units)}</span>`}
    ${since !== null && html` <${Badge} level="warning">not renewed since ${utc(since)} UTC<//>`}`;
}

function Settled({ funding: { rate, interval_hours: hours, settled_at: at } }) {
  return html`<data value=${plain(rate)} title="settled ${utc(at)} UTC">${exactPercent(rate, true)}</data> <span class="muted nowrap">every ${age(hours * 3600)}</span>`;
}

function LeftOut({ told: { left_out: leftOut }, timeframe }) {
  const columns = [
    { key: "exchange", title: "Exchange", render: ({ exchange }) => named(exchange) },
    { key: "symbol", title: "Market", render: ({ exchange, symbol }) => html`<a href=${href("market", timeframe ? [symbol, timeframe] : [symbol], { exchanges: exchange })}>${symbol}</a>` },
    { key: "reason", title: "Why", render: ({ reason }) => timed(reason) },
  ];
  return html`
    <${Card} title="Left out of the sums">
      <${Table} stacked caption="Markets that are in no sum, and why" columns=${columns} rows=${leftOut} rowKey=${keyOf} />
    <//>
  `;
}

/** An amount in short, exact under the pointer. */
function amount(value, unit, withUnit = true) {
  if (value === null) return null;
  return html`<data value=${plain(value)} title="${exact(value)} ${unit}">${compact(value)}${withUnit && html` <span class="unit">${unit}</span>`}</data>`;
}

const spanOf = (span) => `${parseInt(span, 10)} h`;
const way = (value) => (value < 0 ? "fallen by" : value > 0 ? "risen by" : "unchanged,");
const payers = (value) => (value < 0 ? "shorts pay" : value > 0 ? "longs pay" : "nobody pays");
