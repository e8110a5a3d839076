// The view Whole market: funding and change in open interest of all markets, as a heat map and a table.
import { useMemo } from "preact/hooks";
import { html } from "../lib/html.js";
import { age, ago, compact, percent, plural, utc } from "../lib/format.js";
import { href } from "../lib/route.js";
import { useNow, useStatus } from "../lib/status.js";
import { Badge, Card, Empty, ErrorBox, Loading } from "../lib/ui.js";
import { Choice } from "./market/choice.js";
import { named } from "./market/exchanges.js";
import { Live } from "./market/lateness.js";
import { exactPercent, plain } from "./market/numbers.js";
import { Value } from "./market/value.js";
import { coloured } from "./markets/coloured.js";
import { useTable } from "./markets/feed.js";
import { HeatMap } from "./markets/heat_map.js";
import { MEASURES } from "./markets/scale.js";
import { filtered, sorted, sourceOf, SPANS } from "./markets/table_of.js";
import { WindowedTable } from "./markets/window.js";

const FIRST_SORT = { key: "turnover", isDown: true };

export default function Markets({ route }) {
  const { data: status, error } = useStatus();
  const documents = status?.documents ?? null;
  const source = documents && sourceOf(documents);
  const exchanges = Object.keys(status?.exchanges ?? {});
  return html`
    <h1 tabindex="-1">Whole market</h1>
    ${documents === null && (error ? html`<${ErrorBox} error=${error} />` : html`<${Loading} what="Asking what is collected" />`)}
    ${documents !== null && source === null && html`<${Empty}>
      Nothing is collected yet that tells of the last hours: POST /get-market-data {"timeframe":"1h"} collects it.
    <//>`}
    ${source && html`<${Whole} ...${{ source, exchanges, route }} hasFunding=${Boolean(documents.global_fr)} />`}
  `;
}

function Whole({ source, exchanges, hasFunding, route }) {
  const table = useTable(source, hasFunding);
  const { query } = route;
  const measure = MEASURES.find(({ key }) => key === query.show) ?? MEASURES[0];
  const exchange = exchanges.includes(query.exchange) ? query.exchange : null;
  const text = query.search ?? "";
  const sort = query.sort ? { key: query.sort, isDown: query.way === "down" } : FIRST_SORT;
  const columns = useMemo(() => columnsOf(source), [source]);
  const found = useMemo(() => filtered(table.rows ?? [], { exchange, text }), [table.rows, exchange, text]);
  const known = columns.some(({ key }) => key === sort.key) ? sort : FIRST_SORT;
  const ordered = useMemo(() => sorted(found, known.key, known.isDown), [found, known.key, known.isDown]);
  if (table.rows === null) {
    return table.error ? html`<${ErrorBox} error=${table.error} retry=${table.reload} />` : html`<${Loading} what="Reading all markets" />`;
  }
  const onSort = (key) => {
    // Numbers begin with the largest, names with A.
    const isDown = known.key === key ? !known.isDown : key !== "symbol" && key !== "exchange";
    route.set({ sort: key, way: isDown ? "down" : "up" });
  };
  return html`
    <div class="cards">
      <div class="controls card">
        <div class="search">
          <label for="markets-search">Search</label>
          <input id="markets-search" type="search" autocomplete="off" spellcheck="false" placeholder="BTC" value=${text}
            onInput=${(event) => route.set({ search: event.currentTarget.value || null })} />
        </div>
        <${Choice} label="Exchange" name="exchange" current=${exchange ?? "all"}
          onChange=${(next) => route.set({ exchange: next === "all" ? null : next })}
          options=${[{ value: "all", title: "All" }, ...exchanges.map((each) => ({ value: each, title: named(each) }))]} />
        <${Choice} label="Heat map of" name="measure" current=${measure.key}
          onChange=${(next) => route.set({ show: next })}
          options=${MEASURES.map(({ key, title }) => ({ value: key, title }))} />
      </div>
      <${Freshness} table=${table} source=${source} />
      ${table.error && html`<${ErrorBox} error=${table.error} retry=${table.reload} what="The newest numbers cannot be read; these are from before" />`}
      ${table.fundingError && html`<${ErrorBox} error=${table.fundingError} retry=${table.reload} what="Funding cannot be read" />`}
      <${Card} title=${`${measure.title}: coins by turnover`} note="A cell's colour is its class in the scale; its number is in percent.">
        ${found.length === 0 && html`<${Empty}>No market has this in its name.<//>`}
        ${found.length > 0 && html`<${HeatMap} rows=${found} measure=${measure} exchanges=${exchange ? [exchange] : exchanges} timeframe=${source.timeframe} />`}
      <//>
      <${Card} title=${plural(found.length, "market")} note="Sorted by the head that is pressed; a name leads to the market.">
        <${WindowedTable} caption="All markets" columns=${columns} rows=${ordered} sort=${known} onSort=${onSort} />
      <//>
    </div>
  `;
}

function Freshness({ table, source }) {
  const now = useNow(1);
  const { head, fundingHead, missing, rows, total } = table;
  const stale = rows.filter(({ staleSince }) => staleSince !== null).length;
  const late = rows.filter(({ isLate }) => isLate).length;
  return html`
    <p class="note fresh">
      <${Live} head=${head} now=${now} />
      Prices and open interest of ${head.timeframe}, exchange time ${utc(head.asOf, "seconds")} UTC, published ${ago(head.updatedAt, now)}.
      ${fundingHead ? ` Funding of ${utc(fundingHead.asOf, "seconds")} UTC.` : " No funding is collected yet."}
      ${source.timeframe !== "1h" && ` 1h is not collected, so changes are told where ${source.timeframe} has both ends.`}
      ${total > rows.length && ` ${plural(total - rows.length, "market")} without a candle.`}
      ${stale > 0 && html` <${Badge} level="warning">${plural(stale, "market")} not renewed<//>`}
      ${missing.length > 0 && html` <${Badge} level="warning" title=${missing.slice(0, 20).map(({ exchange, symbol, part }) => `${exchange} ${symbol ?? ""} ${part}`).join(", ")}>${plural(missing.length, "part")} missing<//>`}
      ${late > 0 && html` <${Badge} level="warning" title="a settlement was due since, and is not known">funding of ${plural(late, "market")} is old<//>`}
    </p>
  `;
}

function columnsOf(source) {
  const change = (key, title, hint) => ({
    key,
    title,
    hint,
    align: "right",
    render: (row) => coloured(row[key], MEASURES.find((each) => each.key === key)),
  });
  return [
    {
      key: "symbol",
      title: "Market",
      render: (row) => html`<span class="narrow muted">${named(row.exchange).slice(0, 3)}${row.staleSince !== null && ", old"} </span>
        <a href=${href("market", [row.symbol, source.timeframe], { exchanges: row.exchange })}>${row.symbol}</a>`,
    },
    {
      key: "exchange",
      title: "Exchange",
      wide: true, // on a phone it stands beside the name
      render: (row) => html`${named(row.exchange)}${row.staleSince !== null && html` <${Badge} level="warning" title=${`not renewed since ${utc(row.staleSince)} UTC`}>old<//>`}`,
    },
    { key: "price", title: "Price", align: "right", render: (row) => html`<${Value} value=${row.price} />` },
    {
      key: "priceChange",
      title: "24 h",
      hint: "change of the price in 24 hours",
      align: "right",
      render: (row) => percent(row.priceChange, 2, true),
    },
    {
      key: "rate8h",
      title: "Funding per 8 h",
      hint: "the last settled rate, times 8 hours by its interval",
      align: "right",
      render: (row) => coloured(row.rate8h, MEASURES[0]),
    },
    {
      key: "rate",
      title: "Rate as settled",
      align: "right",
      render: (row) =>
        row.rate === null
          ? "–"
          : html`<data value=${plain(row.rate)} title="settled ${utc(row.settledAt)} UTC${row.isLate ? "; another one was due since" : ""}">${exactPercent(row.rate)}</data>${row.isLate && html` <${Badge} level="warning" title="another settlement was due since">old<//>`}`,
    },
    {
      key: "intervalHours",
      title: "Every",
      hint: "hours from a settlement to the next",
      align: "right",
      render: (row) => (row.intervalHours === null ? "–" : age(row.intervalHours * 3600)),
    },
    ...SPANS.map((span) => change(`change${span}h`, `OI ${span} h`, `change of open interest in ${span} h`)),
    {
      key: "interestValue",
      title: "OI, USDT",
      hint: "open interest at the last opening, times the price",
      align: "right",
      render: (row) => html`<data value=${row.interest ?? ""} title=${row.interest === null ? "unknown" : `${plain(row.interest)} ${row.base}, ${utc(row.interestAt)} UTC`}>${compact(row.interestValue)}</data>`,
    },
    {
      key: "turnover",
      title: "Turnover 24 h",
      align: "right",
      render: (row) => compact(row.turnover),
    },
  ];
}
