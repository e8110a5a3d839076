// The jobs: what runs, how far it is, and how the last runs ended.
import { age, ago, number, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Badge, Card, Progress, Table } from "../../lib/ui.js";

const STATES = {
  queued: ["info", "Waits"],
  active: ["info", "Runs"],
  complete: ["ok", "Complete"],
  failed: ["critical", "Failed"],
  aborted: ["warning", "Aborted"],
};

// By the kind, which an id begins with.
const KINDS = {
  collect: "candles and open interest",
  funding: "funding rates",
  discovery: "lists of markets",
  fill: "open interest of first collections",
  record: "writes publishes into the record",
  compaction: "packs the record",
  retention: "removes what the record need not keep",
  integrity: "checks a share of the record",
  backfill: "older data for the record",
  holes: "searches the record for holes",
  providers: "prices, fees and sentiment",
  providers_all: "all that providers tell",
};
const whatOf = (id) => KINDS[id.split(":")[0]] ?? "";

export function Jobs({ jobs, now }) {
  const running = jobs.filter(({ state }) => state === "active" || state === "queued");
  const ended = jobs.filter(({ last }) => last !== null);
  const columns = [
    { key: "id", title: "Job", render: ({ id }) => html`<span class="nowrap">${id}</span> <span class="job-what wide">${whatOf(id)}</span>` },
    { key: "state", title: "Last run", render: ({ last }) => html`<${State} state=${last.state} />` },
    {
      key: "finished",
      title: "Ended",
      align: "right",
      render: ({ last }) => html`<span class="nowrap" title="${utc(last.finished_at, "seconds")} UTC">${ago(last.finished_at, now)}</span>`,
    },
    { key: "run", title: "Runs", align: "right", wide: true, render: ({ last }) => number(last.run) },
    { key: "error", title: "Error", render: ({ last }) => last.error && html`<span class="error-text">${last.error}</span>` },
  ];
  const seen = ended.some(({ last }) => last.error) ? columns : columns.slice(0, -1);
  return html`
    <${Card} title="Jobs" actions=${html`<a href=${href("work", ["jobs"])}>Jobs and their runs</a>`}>
      ${running.length > 0 &&
      html`<ul class="running" aria-label="Jobs that run or wait">
        ${running.map((job) => html`<${Running} key=${job.id} job=${job} now=${now} />`)}
      </ul>`}
      <${Table} caption="How the jobs' last runs ended" columns=${seen} rows=${ended} empty="No job has ended yet." />
    <//>
  `;
}

function Running({ job, now }) {
  const { id, state, phase, done, total, started_at: started, enqueued_at: enqueued } = job;
  const isActive = state === "active";
  const far = total > 0 ? `${number(done)} of ${number(total)}` : "";
  return html`
    <li class="running-job">
      <div class="running-head">
        <strong>${id}</strong> <${State} state=${state} />
        <span class="muted">${isActive ? `${phase} ${far}` : ""}</span>
        <span class="muted running-age">${isActive ? `for ${age((now - started) / 1000)}` : `since ${age((now - enqueued) / 1000)}`}</span>
      </div>
      ${isActive && html`<${Progress} label="${id}: ${phase}" done=${done} total=${total} />`}
    </li>
  `;
}

function State({ state }) {
  const [level, text] = STATES[state] ?? ["info", state];
  return html`<${Badge} level=${level}>${text}<//>`;
}
