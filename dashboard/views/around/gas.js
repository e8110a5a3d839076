// Gas by chain: what a transaction costs. Each chain is asked for, and fails, alone.
import { number } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { useNow } from "../../lib/status.js";
import { Card } from "../../lib/ui.js";
import { AskedFor } from "./asked_for.js";
import { Age, Attributed, Tried, Trouble } from "./block.js";
import { chainName, names, units } from "./numbers.js";

const EVERY_S = 60; // the API keeps fees for 12 s
const GWEI = 9;
const KVB = 3;
const FEES = [
  ["base_fee_wei", null],
  ["max_fee_slow_wei", "fee_slow_sat_per_kvb"],
  ["max_fee_standard_wei", "fee_standard_sat_per_kvb"],
  ["max_fee_fast_wei", "fee_fast_sat_per_kvb"],
];
const HEADS = ["Chain", "Base fee", "Slow", "Standard", "Fast", "Unit", "Told by", "Age"];
const RIGHT = new Set(["Base fee", "Slow", "Standard", "Fast"]);
export const USUAL_CHAINS = "ethereum, bitcoin, bsc, polygon, arbitrum, base";

export function Gas({ route }) {
  const chains = route.query.gas ?? USUAL_CHAINS;
  const onChange = ({ gas }) => route.set({ gas: gas.trim() === "" || gas === USUAL_CHAINS ? null : gas.trim() });
  const fields = [{ name: "gas", label: "Chains", hint: "ids or names, such as ethereum, bitcoin, optimism" }];
  return html`
    <${Card}
      title="Gas by chain"
      note="Slow, standard and fast: the highest fee that a transaction should offer for a unit of gas, base fee included; on Bitcoin the fee for a virtual byte."
    >
      <div class="table-wrap" tabindex="0" role="group" aria-label="Fees by chain">
        <table class="stacked" role="table">
          <caption class="unseen">Fees by chain</caption>
          <thead role="rowgroup">
            <tr role="row">${HEADS.map((head) => html`<th key=${head} scope="col" role="columnheader" class=${RIGHT.has(head) ? "right" : ""}>${head}</th>`)}</tr>
          </thead>
          <tbody role="rowgroup">
            ${names(chains).map((chain) => html`<${Row} key=${chain} chain=${chain} />`)}
          </tbody>
        </table>
      </div>
      <${AskedFor} title="Chains" fields=${fields} values=${{ gas: chains }} onChange=${onChange} />
    <//>
  `;
}

function Row({ chain }) {
  const asked = usePolled(`api/gas/${encodeURIComponent(chain)}`, EVERY_S);
  const now = useNow(5);
  const { data, error } = asked;
  if (data === null) {
    const text = error === null ? "Asking …" : html`<${Trouble} asked=${asked} />`;
    return html`<tr role="row"><th scope="row" role="rowheader">${chainName(chain)}</th><td role="cell" colspan=${HEADS.length - 1} class="muted">${text}</td></tr>`;
  }
  const isBitcoin = data.chain_id === null;
  return html`
    <tr role="row">
      <th scope="row" role="rowheader">${chainName(data.chain)}${data.block !== null && html`<div class="note nowrap">block ${number(data.block)}</div>`}</th>
      ${FEES.map(([wei, sat], place) => {
        const text = isBitcoin ? units(data.fees[sat], KVB) : units(data.fees[wei], GWEI);
        return html`<td key=${wei} class="right" role="cell" data-title=${HEADS[place + 1]}>${text}</td>`;
      })}
      <td class="muted" role="cell" data-title="Unit">${isBitcoin ? "sat/vB" : "gwei"}</td>
      <td role="cell" data-title="Told by"><${Attributed} of=${data} /><${Tried} tried=${data.tried} /></td>
      <td role="cell" data-title="Age"><${Age} of=${data} now=${now} />${error !== null && html`<${Trouble} asked=${asked} />`}</td>
    </tr>
  `;
}
