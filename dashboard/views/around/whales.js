// Great transfers: who moved how much, and which blocks were looked through for them.
import { useState } from "preact/hooks";
import { ago, age, compact, number, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { useNow } from "../../lib/status.js";
import { Badge, Button, Table } from "../../lib/ui.js";
import { AskedFor } from "./asked_for.js";
import { Attributions, Block, Source, Tried } from "./block.js";
import { chainName, names, short, units } from "./numbers.js";

const EVERY_S = 120; // the API keeps what was read for 60 s
const FIRST = 15;
const MOST = 100;
const FIELDS = [
  { name: "whale_chains", label: "Chains", hint: "ids or names; none: those of AGENT_CHAINS" },
  { name: "min_usd", label: "Worth at least (US dollars)", hint: "not less than WHALE_MIN_USD, which is what is looked for" },
];

export function Whales({ route }) {
  const values = { whale_chains: route.query.whale_chains ?? "", min_usd: route.query.min_usd ?? "" };
  const [limit, setLimit] = useState(FIRST);
  const query = new URLSearchParams({ limit });
  if (values.whale_chains !== "") query.set("chain", names(values.whale_chains).join(","));
  if (values.min_usd !== "") query.set("min_usd", values.min_usd);
  const asked = usePolled(`api/whales?${query}`, EVERY_S);
  const error = asked.error && { ...asked.error, data: renamed(asked.error.data) };
  const onChange = (draft) =>
    route.set({ whale_chains: draft.whale_chains.trim() || null, min_usd: draft.min_usd.replaceAll(/[\s,$]/g, "") || null });
  const form = html`<${AskedFor} title="Chains and worth" ...${{ fields: FIELDS, values, onChange, error }} />`;
  return html`
    <${Block} title="Great transfers" asked=${asked} form=${form} wide>
      ${(data) => html`
        <${Transfers} data=${data} />
        ${data.whales.length === limit &&
        (limit < MOST
          ? html`<p><${Button} onClick=${() => setLimit(MOST)}>More transfers<//></p>`
          : html`<p class="note">The newest ${MOST}; ask for more worth to see fewer.</p>`)}
        <${Attributions} of=${data.whales} />
        <${Read} data=${data} />
      `}
    <//>
  `;
}

function renamed(data) {
  if (!Array.isArray(data?.detail)) return data;
  const detail = data.detail.map((each) => ({ ...each, loc: each.loc?.map((part) => (part === "chain" ? "whale_chains" : part)) }));
  return { ...data, detail };
}

function Transfers({ data }) {
  const now = useNow(5);
  const columns = [
    { key: "time_ms", title: "When", render: (row) => html`<span title="${utc(row.time_ms, "seconds")} UTC">${ago(row.time_ms, now)}</span>` },
    { key: "chain", title: "Chain", render: ({ chain }) => chainName(chain) },
    { key: "amount", title: "Amount", align: "right", render: (row) => html`<span title=${units(row.raw, row.decimals)}>${compact(Number(row.amount))}</span> <span class="asset">${row.asset}</span>` },
    { key: "value_usd", title: "Worth", align: "right", render: (row) => html`<span title=${row.price_source ?? ""}>$${compact(row.value_usd)}</span>` },
    { key: "senders", title: "From", sort: false, render: (row) => html`<${Parties} addresses=${row.senders} owner=${row.sender_owner} />` },
    { key: "receivers", title: "To", sort: false, render: (row) => html`<${Parties} addresses=${row.receivers} owner=${row.receiver_owner} />` },
    { key: "tx_hash", title: "Transaction", sort: false, render: (row) => html`<code title=${row.tx_hash}>${short(row.tx_hash)}</code>` },
    {
      ...{ key: "provider", title: "Told by" },
      render: (row) => html`<${Source} of=${row} />${row.stale_since !== null &&
      html`${" "}<${Badge} level="warning" title="since ${utc(row.stale_since, "seconds")} UTC">stale<//>`}${!row.confirmed &&
      html`${" "}<${Badge} level="info">not confirmed<//>`}`,
    },
  ];
  return html`
    <${Table} stacked
      caption="Great transfers of the last hour"
      columns=${columns}
      rows=${data.whales}
      rowKey=${(row) => `${row.chain}:${row.tx_hash}:${row.index}`}
      sortable
      empty="None in the blocks that were read."
    />
  `;
}

function Parties({ addresses, owner }) {
  const first = addresses[0];
  if (first === undefined) return html`<span class="muted">${owner ?? "–"}</span>`;
  const more = addresses.length > 1 ? ` and ${addresses.length - 1} more` : "";
  return html`${owner && html`${owner} `}<code title=${addresses.join(", ")}>${short(first)}</code>${more}`;
}

/** Which blocks that were, by chain, and of which chains nothing is known. */
function Read({ data }) {
  return html`
    <details>
      <summary>Blocks read of ${plural(new Set(data.read.map(({ chain }) => chain)).size, "chain")}${data.missing.length > 0 &&
      html`, nothing known of ${data.missing.map(({ chain }) => chainName(chain)).join(", ")}`}</summary>
      <${Table} stacked
        caption="Blocks that were read"
        columns=${READ}
        rows=${data.read}
        rowKey=${({ chain, source }) => `${chain}:${source}`}
        empty="None as yet."
      />
      ${data.missing.map(({ chain, tried }) => html`<div key=${chain}><p class="note">${chainName(chain)}: nothing is known.</p><${Tried} tried=${tried} /></div>`)}
    </details>
  `;
}

const READ = [
  { key: "chain", title: "Chain", render: ({ chain }) => chainName(chain) },
  {
    ...{ key: "first_block", title: "Blocks", align: "right" },
    render: (row) => (row.first_block === null ? `up to ${number(row.last_block)}` : `${number(row.first_block)} to ${number(row.last_block)}`),
  },
  { key: "age_s", title: "Read", render: (row) => `${age(row.age_s)} before the answer` },
  { key: "complete", title: "State", render: (row) => stateOf(row) },
];

function stateOf({ source, complete, coin_blocks_left_out: left }) {
  if (source === "table") return "as the agent's rounds have kept them";
  const coin = left ? `; the coin was not looked for in ${plural(left, "block")}` : "";
  return (complete ? "all that stood then" : "reading goes on") + coin;
}
