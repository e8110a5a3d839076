// The documents: whether each has the newest close, how old it is, and what it lacks.
import { useState } from "preact/hooks";
import { announce } from "../../lib/announce.js";
import { send } from "../../lib/api.js";
import { ago, bytes, number, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Badge, Card, ErrorBox, Table } from "../../lib/ui.js";
import { Lacking } from "./lacking.js";
import { isKnown, lengthOf } from "./words.js";

const FIRST_MARKET = "BTCUSDT";
const OVERVIEW = "overview"; // of the 5m candles of all markets
const COMING_S = 90; // a close is in its documents within seconds, a full collection takes minutes

export function Documents({ documents, now, fresh, reload }) {
  const [opened, setOpened] = useState(null);
  const [refused, setRefused] = useState(null);
  const rows = Object.entries(documents).map(([name, document]) => ({ id: name, name, ...document }));
  const refresh = async (name) => {
    setRefused(null);
    try {
      const { data } = await send("POST", "get-market-data", { timeframe: name });
      announce(`${data.id} is ${data.state}`);
      reload();
    } catch (error) {
      setRefused(error);
    }
  };
  const columns = [
    { key: "name", title: "Document", render: ({ name, version }) => html`<${Name} name=${name} isThere=${version !== undefined} />` },
    { key: "state", title: "State", render: (row) => html`<${State} row=${row} now=${now} />` },
    {
      key: "age",
      title: "Published",
      align: "right",
      wide: true,
      render: ({ updated_at: at }) => html`<span class="nowrap" title=${at ? `${utc(at, "seconds")} UTC` : undefined}>${at ? ago(at, now) : "–"}</span>`,
    },
    { key: "markets", title: "Markets", align: "right", wide: true, render: (row) => number(row.markets) },
    { key: "missing", title: "Lacks", align: "right", hint: "parts that are missing, and markets whose rows are carried over", render: (row) => html`<${Lacks} row=${row} open=${setOpened} />` },
    { key: "bytes", title: "Size", align: "right", wide: true, render: (row) => html`<span class="nowrap">${bytes(row.bytes)}</span>` },
    {
      key: "refresh",
      title: html`<span class="unseen">Refresh</span>`,
      align: "right",
      render: ({ name }) =>
        lengthOf(name) !== null &&
        html`<button type="button" class="link" onClick=${() => refresh(name)}>Refresh<span class="unseen"> ${name}</span></button>`,
    },
  ];
  return html`
    <${Card} title="Documents">
      <${ErrorBox} error=${refused} what="The refresh was refused" />
      <${Table}
        caption="Documents: state, age and contents"
        columns=${columns}
        rows=${rows}
        rowClass=${({ name }) => (fresh.has(name) ? "fresh" : "")}
        empty="The hot store is away: nothing is known of the documents."
      />
      ${opened !== null && html`<${Lacking} name=${opened} onClose=${() => setOpened(null)} />`}
    <//>
  `;
}

/** A link to where the document is drawn. */
function Name({ name, isThere }) {
  if (!isThere) return name;
  if (name === OVERVIEW) return html`<a href=${href("assets")}>${name}</a>`;
  const to = lengthOf(name) === null ? href("markets") : href("market", [FIRST_MARKET, name]);
  return html`<a href=${to}>${name}</a>`;
}

function State({ row, now }) {
  if (row.version === undefined) return html`<${Badge} level="off">Not collected<//>`;
  if (!row.is_stored) return html`<${Badge} level="critical">Lost in the store<//>`;
  const isOverview = row.name === OVERVIEW && isKnown(row.at);
  const length = isOverview ? lengthOf("5m") : lengthOf(row.name);
  if (length === null) return html`<${Badge} level="ok">There<//>`;
  const close = Math.floor(now / length) * length;
  if (row.as_of >= close && isOverview) return html`<${Badge} level="ok">${plural(row.assets, "asset")} at ${clock(row.at, length)}<//>`;
  if (row.as_of >= close) return html`<${Badge} level="ok">Has the ${clock(close, length)} close<//>`;
  const late = (now - close) / 1000;
  const level = late < COMING_S ? "info" : "warning";
  return html`<${Badge} level=${level}>${late < COMING_S ? "Awaits" : "Lacks"} the ${clock(close, length)} close<//>`;
}

/** A close in a few signs: its time, or its date for candles of a day. */
const clock = (ms, length) => (length >= 86_400_000 ? DATE.format(ms) : utc(ms).slice(11));
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

function Lacks({ row, open }) {
  if (row.version === undefined || row.missing === null) return "–";
  const isOverview = row.name === OVERVIEW; // what is stale in it is left out, and counted as that
  const count = row.missing + (isOverview ? 0 : row.stale);
  if (count === 0) return html`<span class="muted">nothing</span>`;
  if (isOverview) return html`<a class="nowrap" href=${href("assets")} title="each asset’s page says which, and why">${number(row.missing)} left out</a>`;
  const text = [row.missing && `${number(row.missing)} missing`, row.stale && `${number(row.stale)} old`].filter(Boolean).join(", ");
  return html`<button type="button" class="link nowrap" onClick=${() => open(row.name)}>${text}<span class="unseen"> in ${row.name}: show which</span></button>`;
}

