// One worker: its state, its schedule and configuration to be changed, its runs, what it publishes.
import { ago, number, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { href } from "../../lib/route.js";
import { useNow } from "../../lib/status.js";
import { Badge, Card, ErrorBox, Loading, Table } from "../../lib/ui.js";
import { sentence } from "../sentence.js";
import { Act, Outcome, useActions } from "./actions.js";
import { Configuration } from "./configuration.js";
import { Facts, Json, Result } from "./facts.js";
import { ScheduleForm } from "./schedule_form.js";
import { workerPath } from "./worker_actions.js";
import { State, WorkerSwitches } from "./workers.js";
import { runState, timetable, took, tookMs, whyRun } from "./words.js";

const EVERY_S = 4;
const RUNS = 30;

export function Worker({ name }) {
  const polled = usePolled(workerPath(name), EVERY_S);
  const actions = useActions(polled.reload);
  const now = useNow(2);
  const { data, error, reload } = polled;
  return html`
    <p><a href=${href("work", ["workers"])}>All workers</a></p>
    <${Outcome} actions=${actions} />
    <${ErrorBox} error=${error} retry=${reload} what=${`${name} cannot be read`} />
    ${data === null && error === null && html`<${Loading} />`}
    ${data !== null &&
    html`
      <${Card} title=${name} note=${data.description && sentence(data.description)} actions=${html`<${WorkerSwitches} actions=${actions} worker=${data} />`} wide>
        <p><${State} worker=${data} now=${now} /></p>
        <${Facts} facts=${factsOf(data, now)} />
      <//>
      <${ScheduleForm} worker=${data} actions=${actions} key=${`form ${name}`} />
      <${Configuration} worker=${name} values=${data.configuration} after=${reload} key=${`configuration ${name}`} />
      ${data.kind === "schedule" ? html`<${Runs} name=${name} now=${now} actions=${actions} />` : html`<${Published} name=${name} now=${now} />`}
    `}
  `;
}

function factsOf(worker, now) {
  const { live } = worker;
  const next = worker.next_runs.map((at, place) => html`${place > 0 && ", "}<span class="nowrap">${utc(at)}</span>`);
  return [
    ["Fires", worker.kind === "schedule" ? timetable(worker) : null],
    ["Next", worker.next_run_at !== null ? `${ago(worker.next_run_at, now)} (${utc(worker.next_run_at, "seconds")} UTC)` : null],
    ["Then (UTC)", worker.next_runs.length > 1 ? next : null],
    ["Asks for", worker.refreshes.join(", ")],
    ["Address", worker.url],
    ["Declared in", worker.place],
    ["Databases", worker.databases.join(", ")],
    ["Host", live?.host],
    ["Connection since", live?.connection?.since != null ? ago(live.connection.since, now) : null],
    ["Messages", live?.connection?.messages != null ? number(live.connection.messages) : null],
    ["Last result", live?.last_result == null ? null : html`<${Json} value=${live.last_result} />`],
    ["Changed", worker.overridden.length > 0 ? `${worker.overridden.join(", ")}, by ${worker.changed_by} ${ago(worker.changed_at, now)}` : null],
  ];
}

/** The newest runs. */
function Runs({ name, now, actions }) {
  const { data, error, reload } = usePolled(workerPath(name, `/runs?limit=${RUNS}`), EVERY_S);
  const columns = [
    { key: "id", title: "Run", render: ({ id }) => html`<a href=${href("work", ["runs", id])}>${id}</a>` },
    { key: "state", title: "State", render: (row) => html`<${Badge} level=${runState(row.state).level}>${row.state}<//>${row.error && html`<div class="why">${row.error}</div>`}` },
    { key: "why", title: "Why", render: ({ why }) => whyRun(why) },
    { key: "slot", title: "Stands for (UTC)", render: ({ slot }) => utc(slot, "seconds") },
    { key: "took", title: "Took", align: "right", sort: (row) => tookMs(row, now), render: (row) => took(tookMs(row, now)) },
    { key: "attempts", title: "Attempts", align: "right", render: (row) => number(row.attempts) },
    { key: "result", title: "Result", sort: false, render: ({ result }) => html`<${Result} of=${result} />` },
    { key: "actions", title: "Actions", sort: false, render: (row) => html`<${RunSwitch} actions=${actions} run=${row} />` },
  ];
  return html`
    <${Card} title="Runs" note=${`The newest ${RUNS}.`} wide>
      <${ErrorBox} error=${error} retry=${reload} what="The runs cannot be read" />
      ${data !== null && html`<${Table} stacked caption="Runs" columns=${columns} rows=${data.runs} sortable empty="It has not run yet." />`}
    <//>
  `;
}

/** Abort a run that is not over, or try one again that is. */
export function RunSwitch({ actions, run }) {
  const isOpen = run.state === "queued" || run.state === "running";
  const told = ({ id, worker, state }) => `run ${id} of ${worker} is ${state}`;
  const action = isOpen
    ? {
        ...{ key: `${run.id} abort`, path: `api/runs/${run.id}/abort`, told },
        confirm: { title: `Abort run ${run.id}?`, text: `It is stopped within a second and writes nothing more.`, button: `Abort run ${run.id}` },
      }
    : { key: `${run.id} retry`, path: `api/runs/${run.id}/retry`, told };
  return html`<${Act} actions=${actions} action=${action} label=${isOpen ? "Abort" : "Try again"} of=${`run ${run.id}`} />`;
}

/** What a WebSocket worker has published last. */
function Published({ name, now }) {
  const { data, error, reload } = usePolled(workerPath(name, "/published?limit=20"), EVERY_S);
  const columns = [
    { key: "at", title: "When", render: ({ at }) => ago(at, now) },
    { key: "number", title: "Number", align: "right", render: (row) => number(row.number) },
    { key: "value", title: "Value", render: ({ value }) => html`<${Json} value=${value} />` },
  ];
  return html`
    <${Card} title="Published" note="The last 20 values." wide>
      <${ErrorBox} error=${error} retry=${reload} what="What it has published cannot be read" />
      ${data !== null && html`<${Table} stacked caption="Published" columns=${columns} rows=${[...data.values].reverse()} empty="Nothing within a day." />`}
    <//>
  `;
}
