// Providers: each chain with who answers and how often others had to; the resources of one with their
// breakers, limits and usage; enable, disable, probe.
import { useMemo } from "preact/hooks";
import { age, ago, number, percent, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { href } from "../../lib/route.js";
import { useNow } from "../../lib/status.js";
import { Badge, Card, ErrorBox, Loading, Table } from "../../lib/ui.js";
import { levelName } from "../providers_in_words.js";
import { sentence } from "../sentence.js";
import { Act, Outcome, useActions } from "./actions.js";
import { limitLeft, resourceState, tightest } from "./words.js";

const EVERY_S = 10;
const isOff = (error) => error?.status === 404 && error.detail.startsWith("providers are off");

export function Providers() {
  const resources = usePolled("api/providers", EVERY_S);
  const usage = usePolled("api/hierarchy/usage-stats", EVERY_S);
  const now = useNow(5);
  const rows = useMemo(
    () => (resources.data === null ? null : chainsOf(resources.data.resources, usage.data?.by_chain ?? {}, now)),
    [resources.data, usage.data, now],
  );
  if (isOff(resources.error)) return html`<${Card} title="Providers"><p class="empty">${sentence(resources.error.detail)}</p><//>`;
  const count = (key, title, hint) => ({ key, title, hint, align: "right", render: (row) => html`<span class=${row[key] ? "" : "muted"}>${number(row[key])}</span>` });
  const columns = [
    { key: "chain", title: "Chain", render: ({ chain }) => html`<a href=${href("work", ["providers", chain])}>${chain}</a>` },
    { key: "state", title: "State", sort: (row) => row.text, render: (row) => html`<${Badge} level=${row.level}>${row.text}<//>` },
    { key: "first", title: "Asked first", render: ({ first }) => first ?? "–" },
    count("open", "Breakers open"),
    count("asked", "Questions"),
    { ...count("cached", "From what is kept"), wide: true },
    { ...count("fallbacks", "Fallbacks", "answered in place of one that failed or was out"), wide: true },
    { ...count("stale", "Old values given"), wide: true },
    count("unanswered", "Unanswered"),
  ];
  return html`
    <${Card} title="Chains of providers" note="A chain is a list of sources of the same fact: the first that can be asked answers." wide>
      <${ErrorBox} error=${resources.error} retry=${resources.reload} what="The providers cannot be read" />
      <${ErrorBox} error=${usage.error} retry=${usage.reload} what="Their usage cannot be read" />
      ${rows === null && resources.error === null && html`<${Loading} />`}
      ${usage.data !== null &&
      html`<p class="note">${plural(usage.data.total_requests, "request")}, ${plural(usage.data.total_fallbacks, "fallback")} (${percent(usage.data.fallback_rate)}) since the counters began.</p>`}
      ${rows !== null && html`<${Table} stacked caption="Chains of providers" columns=${columns} rows=${rows} rowKey=${({ chain }) => chain} sortable />`}
    <//>
  `;
}

/** A row for each chain. */
function chainsOf(resources, byChain, now) {
  const chains = new Map();
  for (const each of resources) chains.set(each.chain, [...(chains.get(each.chain) ?? []), each]);
  return [...chains].map(([chain, members]) => {
    const asked = members.filter((each) => each.asked);
    const alive = asked.filter((each) => ["asked", "being tried"].includes(resourceState(each, now).text));
    const level = alive.length === 0 ? "critical" : alive.length < asked.length ? "warning" : "ok";
    const text = asked.length === 0 ? "nobody is asked" : `${alive.length} of ${asked.length} can be asked`;
    const open = asked.filter(({ breaker }) => breaker === "open").length;
    return { chain, level: asked.length === 0 ? "info" : level, text, first: alive[0]?.provider, open, ...byChain[chain] };
  });
}

/** The resources of one chain. */
export function ProviderChain({ chain }) {
  const path = `api/providers?${new URLSearchParams({ chain })}`;
  const resources = usePolled(path, EVERY_S);
  const usage = usePolled("api/hierarchy/usage-stats", EVERY_S);
  const actions = useActions(resources.reload);
  const now = useNow(5);
  const rows = resources.data?.resources ?? null;
  const used = (id) => usage.data?.by_resource[id];
  const columns = [
    {
      ...{ key: "id", title: "Resource" },
      render: (row) => html`<code>${row.id}</code><div class="muted">${levelName(row.level)}${row.key_variable && `, ${keyOf(row)}`}</div>`,
    },
    { key: "state", title: "State", sort: (row) => resourceState(row, now).text, render: (row) => html`<${State} of=${row} now=${now} />` },
    { key: "health", title: "Health", align: "right", render: (row) => `${number(row.health)}%` },
    { key: "limits", title: "Left of its limit", sort: false, render: (row) => html`<${Limits} of=${row} />` },
    { key: "requests", title: "Requests", align: "right", sort: (row) => used(row.id)?.requests, render: (row) => number(used(row.id)?.requests) },
    { key: "success_rate", title: "Answered", align: "right", sort: (row) => used(row.id)?.success_rate, render: (row) => percent(used(row.id)?.success_rate, 1) },
    { key: "p50_ms", title: "Half within", align: "right", sort: (row) => used(row.id)?.p50_ms, render: (row) => (used(row.id)?.p50_ms == null ? "–" : `${number(used(row.id).p50_ms)} ms`) },
    { key: "last_error", title: "Last error", sort: false, render: (row) => html`<${LastError} row=${row} used=${used(row.id)} now=${now} />` },
    { key: "actions", title: "Actions", sort: false, render: (row) => html`<${Switches} actions=${actions} row=${row} />` },
  ];
  return html`
    <p><a href=${href("work", ["providers"])}>All chains</a></p>
    <${Outcome} actions=${actions} />
    <${Card} title=${chain} note="In the order in which they are asked." wide>
      <${ErrorBox} error=${resources.error} retry=${resources.reload} what=${`${chain} cannot be read`} />
      ${rows === null && resources.error === null && html`<${Loading} />`}
      ${rows !== null && html`<${Table} stacked caption=${`Resources of ${chain}`} columns=${columns} rows=${rows} sortable empty="There is no such chain." />`}
    <//>
  `;
}

const keyOf = ({ key, key_variable: variable }) =>
  ({ set: `${variable} is set`, optional: `${variable} would give more`, missing: `needs ${variable}` })[key] ?? variable;

function State({ of, now }) {
  const { level, text, why } = resourceState(of, now);
  return html`<${Badge} level=${level}>${text}<//>${why && html`<div class="why">${why}</div>`}`;
}

function Limits({ of }) {
  const worst = tightest(of.limits);
  if (worst === null) return html`<span class="muted">none known</span>`;
  return html`<span class="limit" title=${of.limits.map(limitLeft).join(", ")}>${limitLeft(worst)}</span>`;
}

function LastError({ row, used, now }) {
  const text = used?.last_error ?? row.last_error;
  if (!text) return null;
  const at = used?.last_error_at_ms;
  return html`<span class="why">${text}</span>${at != null && html` <span class="muted">${ago(at, now)}</span>`}`;
}

function Switches({ actions, row: { id, state, asked, enabled, key } }) {
  if (state === "dead") return html`<span class="muted">–</span>`;
  const path = (verb) => `api/providers/${id.split("/").map(encodeURIComponent).join("/")}/${verb}`;
  const isOn = enabled ?? state === "alive";
  const toggle = {
    ...{ key: `${id} ${isOn ? "disable" : "enable"}`, path: path(isOn ? "disable" : "enable") },
    confirm: isOn ? { title: `Disable ${id}?`, text: "It is asked no more, in all processes, until it is enabled.", button: "Disable it" } : undefined,
    told: ({ resources }) => `${id} is ${resources[0]?.asked ? "asked" : "not asked"}${resources[0]?.key === "missing" ? ": it needs a key" : ""}`,
  };
  const probe = {
    ...{ key: `${id} probe`, path: path("probe") },
    told: ({ probed: [found] }) =>
      found.answered
        ? `${id} answered within ${number(found.ms)} ms${found.turned_on ? ", and is asked from now on" : ""}`
        : `${id} did not answer: ${found.error}`,
  };
  return html`
    <div class="actions">
      ${key !== "missing" && html`<${Act} actions=${actions} action=${probe} label="Probe" of=${id} />`}
      <${Act} actions=${actions} action=${toggle} label=${isOn ? "Disable" : "Enable"} of=${id} />
    </div>
  `;
}
