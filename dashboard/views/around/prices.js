// Prices: what assets cost, each from the first provider that tells it.
import { compact, percent } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { useNow } from "../../lib/status.js";
import { Table } from "../../lib/ui.js";
import { AskedFor } from "./asked_for.js";
import { Age, Attributions, Block, Source, Tried } from "./block.js";
import { exact, names } from "./numbers.js";

const EVERY_S = 60; // the API keeps a price for 30 s
const KINDS = [
  ["aggregate", "over many exchanges"],
  ["spot", "of spot pairs"],
  ["perp", "of perpetual contracts"],
];
const FIELDS = [
  { name: "assets", label: "Assets", hint: "ids or names, such as btc, eth; none: those of AGENT_ASSETS" },
  { name: "kind", label: "Prices", among: KINDS },
  { name: "quote", label: "Currency", hint: "such as usd or usdt" },
];

export function Prices({ route }) {
  const values = {
    assets: route.query.assets ?? "",
    kind: route.query.kind ?? "aggregate",
    quote: route.query.quote ?? "usd",
  };
  const asked = usePolled(pathOf(values), EVERY_S);
  const onChange = (draft) =>
    route.set({
      assets: draft.assets.trim() || null,
      kind: draft.kind === "aggregate" ? null : draft.kind,
      quote: ["", "usd"].includes(draft.quote.trim()) ? null : draft.quote.trim(),
    });
  const title = "Assets, kind and currency";
  const form = html`<${AskedFor} ...${{ title, fields: FIELDS, values, onChange, error: asked.error }} />`;
  return html`
    <${Block} title="Prices" asked=${asked} form=${form}>
      ${(data) => html`<${Shown} data=${data} kind=${values.kind} />`}
    <//>
  `;
}

function pathOf({ assets, kind, quote }) {
  const query = new URLSearchParams({ kind, quote });
  if (assets !== "") query.set("assets", names(assets).join(","));
  return `api/prices?${query}`;
}

function Shown({ data, kind }) {
  const now = useNow(5);
  const columns = [
    { key: "asset", title: "Asset", render: (row) => html`<span class="asset">${row.asset}</span>` },
    {
      ...{ key: "price", title: "Price", align: "right" },
      render: (row) => html`<span class="nowrap">${exact(row.price)} <span class="muted">${row.quote}</span></span>`,
    },
    { key: "change_24h", title: "24 h", align: "right", render: (row) => html`<${Change} value=${row.change_24h} />` },
    { key: "volume_24h", title: "Volume 24 h", align: "right", render: (row) => compact(row.volume_24h) },
    { key: "market_cap", title: "Market cap", align: "right", render: (row) => compact(row.market_cap) },
    { key: "provider", title: "Told by", render: (row) => html`<${Source} of=${row} />` },
    { key: "as_of_ms", title: "Age", sort: (row) => row.as_of_ms ?? row.fetched_at_ms, render: (row) => html`<${Age} of=${row} now=${now} />` },
  ];
  const [, kindName] = KINDS.find(([name]) => name === kind) ?? [kind, kind];
  return html`
    <${Table} stacked
      caption=${`Prices ${kindName}`}
      columns=${columns}
      rows=${data.prices}
      rowKey=${(row) => row.asset}
      sortable
      empty="No assets: AGENT_ASSETS names none, or no market is known yet."
    />
    ${data.missing.length > 0 &&
    html`<p class="note">Nobody has told ${data.missing.join(", ")}.</p>`}
    <${Tried} tried=${data.tried} />
    <${Attributions} of=${data.prices} />
  `;
}

/** A change as a percentage, with a sign and a colour. */
function Change({ value }) {
  const way = value > 0 ? "up" : value < 0 ? "down" : "";
  return html`<span class=${way}>${percent(value, 2, true)}</span>`;
}
