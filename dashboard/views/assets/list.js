// All assets, a row each: sorted and searched here, as a list in short is small.
import { useMemo } from "preact/hooks";
import { compact, number, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Badge, Card, Empty, ErrorBox, Loading } from "../../lib/ui.js";
import { named } from "../market/exchanges.js";
import { plain } from "../market/numbers.js";
import { coinOf } from "../markets/coins.js";
import { coloured } from "../markets/coloured.js";
import { MEASURES, signed } from "../markets/scale.js";
import { sorted } from "../markets/table_of.js";
import { WindowedTable } from "../markets/window.js";
import { useOverview } from "./feed.js";
import { Freshness } from "./freshness.js";
import { Meanings, priced, unknown } from "./words.js";

const FIRST_SORT = { key: "interestQuote", isDown: true };
const NAMES = ["asset", "exchanges"]; // sorted from A, numbers from the largest

export function AssetList({ route, isCollected }) {
  const { data, error, reload } = useOverview(isCollected ? "market" : null);
  const rows = useMemo(() => (data?.assets ?? []).map(rowOf), [data]);
  const columns = useMemo(() => columnsOf(data?.quote ?? ""), [data?.quote]);
  const { query } = route;
  const text = query.search ?? "";
  const found = useMemo(() => filtered(rows, text), [rows, text]);
  const asked = { key: query.sort, isDown: query.way === "down" };
  const sort = columns.some(({ key }) => key === asked.key) ? asked : FIRST_SORT;
  const ordered = useMemo(() => sorted(found, sort.key, sort.isDown), [found, sort.key, sort.isDown]);
  if (!isCollected) return html`<${Empty}>Nothing is collected yet: POST /get-market-data {"timeframe":"all"} collects it, and these figures with it.<//>`;
  if (data === null) {
    if (error?.status === 404) return html`<${Empty}>${error.detail}.<//>`;
    return error ? html`<${ErrorBox} error=${error} retry=${reload} />` : html`<${Loading} what="Reading all assets" />`;
  }
  const onSort = (key) => route.set({ sort: key, way: (sort.key === key ? !sort.isDown : !NAMES.includes(key)) ? "down" : "up" });
  const leftOut = rows.reduce((sum, row) => sum + row.leftOut, 0);
  return html`
    <div class="cards">
      <div class="controls card">
        <div class="search">
          <label for="assets-search">Search</label>
          <input id="assets-search" type="search" autocomplete="off" spellcheck="false" placeholder="BTC" value=${text}
            onInput=${(event) => route.set({ search: event.currentTarget.value || null })} />
        </div>
      </div>
      <${Freshness} told=${data}>
        ${leftOut > 0 && html`<${Badge} level="info" title="the page of each asset says which, and why">${plural(leftOut, "market")} left out of sums<//>`}
      <//>
      ${error && html`<${ErrorBox} error=${error} retry=${reload} what="The newest figures cannot be read; these are from before" />`}
      <${Meanings} />
      <${Card} title=${plural(found.length, "asset")} note="Each over all its exchanges; a name leads to the figures of each. Sorted by the head that is pressed.">
        ${found.length === 0
          ? html`<${Empty}>${rows.length === 0 ? "There is no asset yet." : "No asset has this in its name."}<//>`
          : html`<${WindowedTable} caption="All assets" columns=${columns} rows=${ordered} sort=${sort} onSort=${onSort} />`}
      <//>
    </div>
  `;
}

/** The row of an asset of GET /market. */
function rowOf({ asset, exchanges, price, spread_bps: spread, open_interest: interest, change, rate_8h: rate8h, rate_year: rateYear, turnover_24h: turnover, left_out: leftOut }) {
  return {
    key: asset,
    ...{ asset, price, spread, rate8h, rateYear, turnover, leftOut },
    exchanges: exchanges.map(named).join(", "),
    interestQuote: interest.quote,
    interestCoins: interest.coins,
    ...Object.fromEntries(Object.entries(change).map(([span, value]) => [`change${span}`, value])),
  };
}

/** Those whose name has the text; 1000pepe finds PEPE. */
function filtered(rows, text) {
  const wanted = text.trim().toUpperCase();
  if (wanted === "") return rows;
  const coin = coinOf(wanted);
  return rows.filter(({ asset }) => asset.includes(wanted) || asset === coin);
}

function columnsOf(quote) {
  const measured = (key, title, hint) => {
    const measure = MEASURES.find((each) => each.key === key);
    return { key, title, hint, align: "right", render: (row) => (row[key] === null ? unknown() : coloured(row[key], measure)) };
  };
  const short = (key, title, hint, unit) => ({
    key,
    title,
    hint,
    align: "right",
    render: (row) => (row[key] === null ? unknown() : html`<data value=${plain(row[key])} title="${plain(row[key])} ${unit(row)}">${compact(row[key])}</data>`),
  });
  return [
    { key: "asset", title: "Asset", render: ({ asset }) => html`<a href=${href("assets", [asset])}>${asset}</a>` },
    { key: "price", title: "Price", hint: `of one coin, in ${quote}: the median over exchanges`, align: "right", render: ({ price }) => (price === null ? unknown() : priced(price)) },
    short("interestQuote", `OI, ${quote}`, "open interest of all exchanges, one side", () => quote),
    { ...short("interestCoins", "OI, coins", "the same in single coins", ({ asset }) => asset), wide: true },
    measured("change1h", "OI 1 h", "change of open interest, in coins, in 1 hour"),
    measured("change4h", "OI 4 h", "change of open interest, in coins, in 4 hours"),
    measured("change24h", "OI 24 h", "change of open interest, in coins, in 24 hours"),
    measured("rate8h", "Funding per 8 h", "the mean of the exchanges' rates per 8 h, weighted by open interest"),
    { key: "rateYear", title: "Per year", hint: "the same for a year, not compounded", align: "right", render: ({ rateYear }) => (rateYear === null ? unknown() : html`<data value=${plain(rateYear)}>${signed(rateYear, 2)}</data>`) },
    short("turnover", "Turnover 24 h", `of all exchanges, in ${quote}`, () => quote),
    { key: "spread", title: "Spread, bp", hint: "how far the highest price lies above the lowest, in basis points", align: "right", render: ({ spread }) => (spread === null ? unknown() : html`<data value=${plain(spread)}>${number(spread, 2)}</data>`) },
    { key: "exchanges", title: "Exchanges", hint: "whose markets are summed", render: ({ exchanges, leftOut }) => html`${exchanges || "none"}${leftOut > 0 && html` <${Badge} level="info">${number(leftOut)} left out<//>`}` },
  ];
}
