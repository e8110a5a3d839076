// Schedules: the agent as a whole, when each worker fires, and the queues that hosts take runs from.
import { ago, number, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { href } from "../../lib/route.js";
import { useNow } from "../../lib/status.js";
import { Badge, Card, Empty, ErrorBox, Loading, Table } from "../../lib/ui.js";
import { sentence } from "../sentence.js";
import { Act, Outcome, useActions } from "./actions.js";
import { Queues } from "./queues.js";
import { stopping, toldRun, workerPath } from "./worker_actions.js";
import { timetable, workerState } from "./words.js";

const EVERY_S = 5;

export function Schedules() {
  const workers = usePolled("api/workers", EVERY_S);
  const actions = useActions(workers.reload);
  const now = useNow(2);
  const rows = workers.data?.workers.filter(({ kind }) => kind === "schedule") ?? null;
  return html`
    <${Outcome} actions=${actions} />
    <${Agent} actions=${actions} />
    <${Card} title="Schedules" note="A change counts on every host within a second, and stays over restarts." wide>
      <${ErrorBox} error=${workers.error} retry=${workers.reload} what="The schedules cannot be read" />
      ${rows === null && workers.error === null && html`<${Loading} />`}
      ${rows?.length === 0 && html`<${Empty}>There are none as yet: a process with SCHEDULES=on stores them.<//>`}
      ${rows?.length > 0 &&
      html`<${Table} stacked caption="Schedules" columns=${columnsOf(actions, now)} rows=${rows} rowKey=${({ name }) => name} sortable />`}
    <//>
    <${Queues} />
  `;
}

function columnsOf(actions, now) {
  return [
    {
      ...{ key: "name", title: "Worker" },
      render: (row) => html`<a href=${href("work", ["workers", row.name])}>${row.name}</a>
        ${row.overridden.length > 0 && html`${" "}<span class="chip" title=${`changed: ${row.overridden.join(", ")}`}>changed</span>`}`,
    },
    { key: "when", title: "Fires", sort: (row) => row.every_s ?? 0, render: timetable },
    {
      ...{ key: "next_run_at", title: "Next" },
      render: (row) => (row.enabled ? next(row.next_run_at, now) : html`<${Badge} level="info">stopped<//>`),
    },
    { key: "state", title: "Last run", sort: (row) => workerState(row).text, render: (row) => html`<${Last} worker=${row} now=${now} />` },
    { key: "actions", title: "Actions", sort: false, render: (row) => html`<${Switches} actions=${actions} worker=${row} />` },
  ];
}

function next(at, now) {
  if (at === null) return html`<span class="muted">never</span>`;
  const late = now - at > 60_000;
  return html`<span title="${utc(at, "seconds")} UTC">${ago(at, now)}</span>${late && html`${" "}<${Badge} level="warning">late<//>`}`;
}

function Last({ worker, now }) {
  const { live } = worker;
  const { level, text, why } = workerState(worker);
  if (live?.state == null) return html`<span class="muted">${worker.enabled ? text : "–"}</span>`;
  const state = live.state === "running" ? "running" : live.state;
  return html`
    <a href=${href("work", ["runs", live.run])}><${Badge} level=${live.state === "running" ? "info" : levelOf(live.state, level)}>${state}<//></a>
    ${live.started_at !== null && html` <span class="muted">${ago(live.started_at, now)}</span>`}
    ${why && html`<div class="why">${why}</div>`}
  `;
}

const levelOf = (state, otherwise) => ({ complete: "ok", failed: "critical", aborted: "warning" })[state] ?? otherwise;

function Switches({ actions, worker: { name, enabled } }) {
  const run = { key: `${name} run`, path: workerPath(name, "/run"), told: toldRun };
  const toggle = {
    ...{ key: `${name} ${enabled ? "stop" : "start"}`, path: workerPath(name, enabled ? "/stop" : "/start") },
    confirm: enabled ? stopping(name, "schedule") : undefined,
    told: (now) => `${name}: ${now.enabled ? "its schedule fires again" : "its schedule fires no more"}`,
  };
  return html`
    <div class="actions">
      <${Act} actions=${actions} action=${run} label="Run now" of=${name} />
      <${Act} actions=${actions} action=${toggle} label=${enabled ? "Stop" : "Start"} of=${name} />
      <a class="button button-plain" href=${href("work", ["workers", name])}>Edit<span class="unseen"> ${name}</span></a>
    </div>
  `;
}

const AGENT = {
  running: ["ok", "running"],
  partly: ["warning", "partly stopped"],
  stopped: ["warning", "stopped"],
  off: ["info", "off (SCHEDULES=off)"],
  unknown: ["warning", "unknown: the database is away"],
};
const HEALTH = { healthy: "ok", degraded: "warning", unhealthy: "critical" };

/** The agent: closes, ui_data and historical_data seen as one. */
function Agent({ actions }) {
  const status = usePolled("api/worker/status", EVERY_S);
  const health = usePolled("api/worker/health", EVERY_S);
  const { data, error } = status;
  const [level, text] = AGENT[data?.status] ?? ["info", data?.status];
  const isStopped = data?.status === "stopped";
  const toggle = isStopped
    ? { key: "agent start", path: "api/worker/start", told: (now) => `the agent is ${now.status}` }
    : {
        ...{ key: "agent stop", path: "api/worker/stop", told: (now) => `the agent is ${now.status}` },
        confirm: {
          title: "Stop the agent?",
          text: "closes, ui_data and historical_data fire no more, so documents grow old, until it is started. What is running ends by itself.",
          button: "Stop the agent",
        },
      };
  const collect = (type, label) => ({
    ...{ key: `${type} collect`, path: `api/worker/force-collection?type=${type}` },
    told: ({ runs }) => `${label}: ${runs.map(({ id, worker, coalesced }) => `run ${id} of ${worker}${coalesced ? " (joined)" : ""}`).join(", ")}`,
  });
  return html`
    <${Card}
      title="The agent"
      actions=${data !== null && data.status !== "off" &&
      html`<div class="actions">
        <${Act} actions=${actions} action=${collect("ui", "collect for users")} label="Collect for users now" />
        <${Act} actions=${actions} action=${collect("historical", "collect for the history")} label="Collect for the history now" />
        <${Act} actions=${actions} action=${toggle} label=${isStopped ? "Start the agent" : "Stop the agent"} />
      </div>`}
      wide
    >
      <${ErrorBox} error=${error} retry=${status.reload} what="The agent cannot be read" />
      ${data !== null &&
      html`
        <p><${Badge} level=${level}>${text}<//>${data.status === "partly" && html` <span class="muted">stopped: ${data.stopped.join(", ")}</span>`}</p>
        ${data.stats &&
        html`<p class="note">
          ${number(data.stats.ui_collections)} rounds for users, ${number(data.stats.historical_collections)} for the history,${" "}
          ${number(data.stats.total_records_saved)} records saved, ${number(data.stats.errors)} errors${data.stats.since !== null && html`, since ${utc(data.stats.since)} UTC`}.
        </p>`}
      `}
      ${health.data?.issues.length > 0 &&
      html`<div class="box box-${HEALTH[health.data.status] === "critical" ? "critical" : "warning"}">
        <ul class="plain">${health.data.issues.map((issue) => html`<li key=${issue}>${sentence(issue)}</li>`)}</ul>
      </div>`}
    <//>
  `;
}
