// Jobs: what is collected and recorded now and how it ended last; refresh, abort; what failed lately.
import { useState } from "preact/hooks";
import { ago, number, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { useNow, useStatus } from "../../lib/status.js";
import { Badge, Button, Card, ErrorBox, Field, Loading, Progress, Table } from "../../lib/ui.js";
import { wrongFields } from "../wrong_fields.js";
import { Act, Outcome, useActions } from "./actions.js";
import { Result } from "./facts.js";
import { progressOf, runState } from "./words.js";

const EVERY_S = 2;
const FAILURES = 50;

export function Jobs() {
  const polled = usePolled("jobs", EVERY_S);
  const actions = useActions(polled.reload);
  const now = useNow(1);
  const { data, error, reload } = polled;
  const columns = [
    { key: "id", title: "Job", render: ({ id }) => html`<code>${id}</code>` },
    { key: "state", title: "State", render: (row) => html`<${State} job=${row} />` },
    { key: "run", title: "Run", align: "right", render: ({ run }) => number(run) },
    { key: "enqueued_at", title: "Asked for", render: ({ enqueued_at: at }) => (at === null ? "–" : ago(at, now)) },
    { key: "last", title: "Last run", sort: (row) => row.last?.finished_at, render: (row) => html`<${Last} last=${row.last} now=${now} />` },
    { key: "result", title: "It brought", sort: false, render: ({ last }) => html`<${Result} of=${last?.result} />` },
    { key: "actions", title: "Actions", sort: false, render: (row) => html`<${Abort} actions=${actions} job=${row} />` },
  ];
  return html`
    <${Outcome} actions=${actions} />
    <${Refresh} actions=${actions} />
    <${Card} title="Jobs" wide>
      <${ErrorBox} error=${error} retry=${reload} what="The jobs cannot be read" />
      ${data === null && error === null && html`<${Loading} />`}
      ${data !== null && html`<${Table} stacked caption="Jobs" columns=${columns} rows=${data.jobs} sortable empty="Nothing was asked for yet." />`}
    <//>
    <${Failures} now=${now} />
  `;
}

function State({ job }) {
  const { level, text } = runState(job.state);
  const words = progressOf(job);
  const { done, total } = job.progress;
  return html`
    <${Badge} level=${level}>${text}<//>${job.rerun && html` <span class="muted">and again after that</span>`}
    ${job.state === "active" && total > 0 && html`<${Progress} label=${`Progress of ${job.id}`} done=${done} total=${total} />`}
    ${words && html`<div class="muted">${words}</div>`}
    ${job.error && html`<div class="why">${job.error}</div>`}
  `;
}

function Last({ last, now }) {
  if (last === null) return html`<span class="muted">none yet</span>`;
  return html`
    <${Badge} level=${runState(last.state).level}>${last.state}<//>
    <span class="muted" title="${utc(last.finished_at, "seconds")} UTC"> ${ago(last.finished_at, now)}</span>
    ${last.error && html`<div class="why">${last.error}</div>`}
  `;
}

function Abort({ actions, job: { id, state } }) {
  if (state !== "queued" && state !== "active") return html`<span class="muted">–</span>`;
  const action = {
    ...{ key: `${id} abort`, method: "DELETE", path: `jobs/${encodeURIComponent(id)}` },
    confirm: { title: `Abort ${id}?`, text: "What it has collected so far is not published.", button: `Abort ${id}` },
    told: (job) => `${job.id} is ${job.state}`,
  };
  return html`<${Act} actions=${actions} action=${action} label="Abort" of=${id} />`;
}

/** Asks for a timeframe, or for all, now. */
function Refresh({ actions }) {
  const { data } = useStatus();
  const [timeframe, setTimeframe] = useState("all");
  const [wrong, setWrong] = useState(null);
  const known = Object.keys(data?.documents ?? {}).filter((name) => name !== "global_fr");
  const ask = async (event) => {
    event.preventDefault();
    const answered = await actions.act({
      ...{ key: `${timeframe} refresh`, path: "get-market-data", body: { timeframe }, quiet: true },
      told: (job) => `${job.id}: run ${job.run} is ${job.state}${job.coalesced ? ", with who asked before" : ""}`,
    });
    setWrong(wrongFields(answered?.error).timeframe ?? null);
  };
  return html`
    <${Card} title="Refresh now">
      <form class="row" onSubmit=${ask} noValidate>
        <${Field} label="Timeframe" hint="a job that is queued already is joined" error=${wrong}>
          ${(carried) => html`<select ...${carried} value=${timeframe} onChange=${(event) => setTimeframe(event.currentTarget.value)}>
            ${["all", ...known].map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
          </select>`}
        <//>
        <${Button} type="submit" kind="primary">Refresh<//>
      </form>
    <//>
  `;
}

function Failures({ now }) {
  const [isOpen, setOpen] = useState(false);
  const { data, error, reload } = usePolled(isOpen ? `api/failures?limit=${FAILURES}` : null, 15);
  const columns = [
    { key: "at", title: "When", render: ({ at }) => html`<span title="${utc(at, "seconds")} UTC">${ago(at, now)}</span>` },
    { key: "source", title: "Source" },
    { key: "subject", title: "Of" },
    { key: "market", title: "Market", render: ({ market }) => market ?? "–" },
    { key: "cause", title: "Cause", render: ({ cause }) => html`<span class="why">${cause}</span>` },
    { key: "count", title: "Times", align: "right", render: ({ count }) => number(count) },
  ];
  return html`
    <${Card} title="What failed lately" wide>
      <details onToggle=${(event) => setOpen(event.currentTarget.open)}>
        <summary>The newest ${plural(FAILURES, "failure")}</summary>
        <${ErrorBox} error=${error} retry=${reload} what="The failures cannot be read" />
        ${isOpen && data !== null && html`<${Table} stacked caption="Failures" columns=${columns} rows=${data.failures} sortable empty="Nothing has failed." />`}
      </details>
    <//>
  `;
}
