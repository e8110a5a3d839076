// What the service is made of: stores, processes, and the record.
import { age, ago, bytes, number, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Badge, Card } from "../../lib/ui.js";
import { isKnown } from "./words.js";

const STORES = { native: "Redis", upstash: "Upstash", postgresql: "PostgreSQL" };

export function Service({ status, now }) {
  const { stores, processes, history } = status;
  const facts = [
    ["Hot store", html`<${Store} ...${stores.hot} />`],
    ["Database", html`<${Store} ...${stores.cold} />`],
    ["API processes", names(processes.api)],
    ["Workers", names(processes.workers)],
    ["Live processes", names(processes.live)],
    ...record(history, now),
  ];
  return html`
    <${Card} title="Service">
      <dl class="facts">
        ${facts.map(([title, value]) => html`<div key=${title}><dt>${title}</dt><dd>${value}</dd></div>`)}
      </dl>
    <//>
  `;
}

function Store({ kind, state }) {
  return state === "ok"
    ? html`<${Badge} level="ok">${STORES[kind] ?? kind}<//>`
    : html`<${Badge} level="critical">${STORES[kind] ?? kind}<//> ${state}`;
}

const names = (list) => (list.length === 0 ? html`<span class="muted">none</span>` : list.join(", "));

function record(history, now) {
  if (history === null || !history.is_kept) return [];
  const found = [];
  if (isKnown(history.recorded_at)) found.push(["Recorded", ago(history.recorded_at, now)]);
  if (history.waiting > 0) found.push(["To record", `${plural(history.waiting, "publish", "publishes")}, ${bytes(history.bytes)}, the oldest ${age(history.behind_s)} old`]);
  if (isKnown(history.rows)) found.push(["Rows", number(history.rows)]);
  if (isKnown(history.holes)) found.push(["Holes", number(history.holes)]);
  if (isKnown(history.corrections_today)) found.push(["Corrected today", number(history.corrections_today)]);
  if (history.gaps > 0) found.push(["Gaps", number(history.gaps)]);
  return found;
}
