// Chain statistics: height, the last block's age and figures with their units, of each chain.
import { ago, capital, number, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { useNow } from "../../lib/status.js";
import { Card } from "../../lib/ui.js";
import { AskedFor } from "./asked_for.js";
import { Age, Attributed, Tried, Trouble } from "./block.js";
import { chainName, figure, names } from "./numbers.js";

const EVERY_S = 120; // the API keeps statistics for 60 s
const USUAL_CHAINS = "bitcoin, ethereum, bsc, base";

export function Chains({ route }) {
  const chains = route.query.chains ?? USUAL_CHAINS;
  const onChange = (draft) => {
    const text = draft.chains.trim();
    route.set({ chains: text === "" || text === USUAL_CHAINS ? null : text });
  };
  const fields = [{ name: "chains", label: "Chains", hint: "ids or names, such as bitcoin, polygon" }];
  return html`
    <${Card} title="Chain statistics" >
      <div class="chains">${names(chains).map((chain) => html`<${Chain} key=${chain} chain=${chain} />`)}</div>
      <${AskedFor} title="Chains" fields=${fields} values=${{ chains }} onChange=${onChange} />
    <//>
  `;
}

function Chain({ chain }) {
  const asked = usePolled(`api/blockchain/${encodeURIComponent(chain)}`, EVERY_S);
  const now = useNow(5);
  const { data, error } = asked;
  return html`
    <section class="chain" aria-label=${`Statistics of ${chainName(data?.chain ?? chain)}`}>
      <h3>${chainName(data?.chain ?? chain)}</h3>
      <${Trouble} asked=${asked} />
      ${data === null && error === null && html`<p class="loading">Asking …</p>`}
      ${data !== null &&
      html`
        <dl class="figures">
          <div><dt>Height</dt><dd>${number(data.height)}</dd></div>
          ${data.head_time_ms !== null &&
          html`<div><dt>Last block</dt><dd title="${utc(data.head_time_ms, "seconds")} UTC">${ago(data.head_time_ms, now)}</dd></div>`}
          ${Object.entries(data.metrics).map(
            ([name, each]) => html`<${Figure} key=${name} name=${name} of=${each} />`,
          )}
        </dl>
        <p class="note">Told by <${Attributed} of=${data} />, <${Age} of=${data} now=${now} /></p>
        <${Tried} tried=${data.tried} />
      `}
    </section>
  `;
}

function Figure({ name, of }) {
  const { text, title } = figure(of);
  return html`<div><dt>${NAMES[name] ?? capital(name.replaceAll("_", " "))}</dt><dd title=${title}>${text}</dd></div>`;
}

// Of figures whose name says too little.
const NAMES = {
  tvl: "Value locked (TVL)",
  head_transactions: "Transactions in it",
  mempool_count: "Transactions that wait",
  mempool_vbytes: "Their size",
  mempool_bytes: "Their size",
  mempool_fees: "Their fees",
  difficulty_change: "Next change of difficulty",
  blocks_to_adjustment: "Blocks until then",
};
