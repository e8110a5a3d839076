// What the service is made of: stores, processes, and the record.
import { age, ago, bytes, compact, number, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Badge, Card } from "../../lib/ui.js";
import { isKnown } from "./words.js";

const STORES = { native: "Redis", upstash: "Upstash", postgresql: "PostgreSQL" };

export function Service({ status, now }) {
  const { stores, processes, history } = status;
  const facts = [
    ["Hot store", html`<${Store} ...${stores.hot} /> ${memory(stores.hot.memory)}`],
    ["Database", html`<${Store} ...${stores.cold} /> ${isKnown(stores.cold.bytes) ? bytes(stores.cold.bytes) : ""}`],
    ...disk(stores.disk),
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

function memory(told) {
  if (!told) return "";
  return isKnown(told.most) ? `${bytes(told.used)} of ${bytes(told.most)}` : bytes(told.used);
}

const disk = (told) => (told ? [["Disk", `${bytes(told.free)} of ${bytes(told.total)} free`]] : []);
const names = (list) => (list.length === 0 ? html`<span class="muted">none</span>` : list.join(", "));

function record(history, now) {
  if (history === null || !history.is_kept) return [];
  const found = [];
  if (isKnown(history.recorded_at)) found.push(["Recorded", ago(history.recorded_at, now)]);
  if (history.waiting > 0) found.push(["To record", `${plural(history.waiting, "publish", "publishes")}, ${bytes(history.bytes)}, the oldest ${age(history.behind_s)} old`]);
  if (isKnown(history.rows)) found.push(["Record", `${compact(history.rows)} rows${isKnown(history.stored_bytes) ? `, ${bytes(history.stored_bytes)}` : ""}`]);
  if (history.holes) found.push(["Holes", holes(history.holes)]);
  if (history.corrections_today > 0) found.push(["Corrected today", plural(history.corrections_today, "row")]);
  if (history.gaps > 0) found.push(["Gaps", number(history.gaps)]);
  return found;
}

function holes(counts) {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  if (parts.length === 0) return "none";
  return parts.map(([why, count]) => `${number(count)} ${HOLES[why] ?? why.replaceAll("_", " ")}`).join(", ");
}

// The states of docs/history.md.
const HOLES = {
  not_asked: "not asked for yet",
  asked: "to be asked for again",
  exchange: "of the exchange",
  out_of_reach: "out of reach",
  document: "within documents",
};
