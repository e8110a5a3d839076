// Workers: all of them with how they are now, what they log, and the values that they share.
import { number } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { href } from "../../lib/route.js";
import { useNow } from "../../lib/status.js";
import { Badge, Card, Empty, ErrorBox, Loading, Table } from "../../lib/ui.js";
import { sentence } from "../sentence.js";
import { Act, Outcome, useActions } from "./actions.js";
import { Configuration } from "./configuration.js";
import { Result } from "./facts.js";
import { LogOfAll } from "./log.js";
import { stopping, toldRun, workerPath } from "./worker_actions.js";
import { when, workerState } from "./words.js";

const EVERY_S = 5;

export function Workers() {
  const polled = usePolled("api/workers", EVERY_S);
  const actions = useActions(polled.reload);
  const now = useNow(2);
  const { data, error, reload } = polled;
  const columns = [
    {
      ...{ key: "name", title: "Worker" },
      render: (row) => html`<a href=${href("work", ["workers", row.name])}>${row.name}</a>
        ${row.description && html`<div class="why">${sentence(row.description)}</div>`}`,
    },
    { key: "kind", title: "Kind", render: (row) => `${row.kind === "websocket" ? "WebSocket" : "Schedule"}${row.origin === "user" ? ", yours" : ""}` },
    { key: "state", title: "State", sort: (row) => workerState(row).text, render: (row) => html`<${State} worker=${row} now=${now} />` },
    { key: "result", title: "Last result", sort: false, render: (row) => html`<${Result} of=${row.live?.last_result} />` },
    { key: "queue", title: "Queue" },
    { key: "actions", title: "Actions", sort: false, render: (row) => html`<${WorkerSwitches} actions=${actions} worker=${row} />` },
  ];
  return html`
    <${Outcome} actions=${actions} />
    <${Card} title="Workers" wide>
      <${ErrorBox} error=${error} retry=${reload} what="The workers cannot be read" />
      ${data === null && error === null && html`<${Loading} />`}
      ${data !== null && data.hot_store !== "ok" && html`<p class="note">The hot store is ${data.hot_store}: how they are now is not known.</p>`}
      ${data?.workers.length === 0 && html`<${Empty}>There are none as yet: a process with SCHEDULES=on stores them.<//>`}
      ${data?.workers.length > 0 &&
      html`<${Table} stacked caption="Workers" columns=${columns} rows=${data.workers} rowKey=${({ name }) => name} sortable />`}
    <//>
    <${LogOfAll} />
    <${Configuration} worker=${null} />
  `;
}

/** What a worker does now, and what went wrong last. */
export function State({ worker, now }) {
  const { level, text, why } = workerState(worker);
  const { live } = worker;
  return html`
    <${Badge} level=${level}>${text}<//>
    ${live?.started_at != null && html` <span class="muted">${when(live.started_at, now)}</span>`}
    ${live?.connection?.messages != null && html` <span class="muted">${number(live.connection.messages)} messages</span>`}
    ${why && html`<div class="why">${why}</div>`}
  `;
}

/** Run now (of a schedule), start or stop. */
export function WorkerSwitches({ actions, worker: { name, kind, enabled } }) {
  const run = { key: `${name} run`, path: workerPath(name, "/run"), told: toldRun };
  const toggle = {
    ...{ key: `${name} ${enabled ? "stop" : "start"}`, path: workerPath(name, enabled ? "/stop" : "/start") },
    confirm: enabled ? stopping(name, kind) : undefined,
    told: (now) => `${name} is ${now.enabled ? "started" : "stopped"}`,
  };
  return html`
    <div class="actions">
      ${kind === "schedule" && html`<${Act} actions=${actions} action=${run} label="Run now" of=${name} />`}
      <${Act} actions=${actions} action=${toggle} label=${enabled ? "Stop" : "Start"} of=${name} />
    </div>
  `;
}
