// Queues: how many runs wait in each; pause for a time or until it is resumed, and limit.
import { useState } from "preact/hooks";
import { number } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { Badge, Button, Card, Dialog, ErrorBox, Field, Loading, Table } from "../../lib/ui.js";
import { wrongFields } from "../wrong_fields.js";
import { Act, Outcome, useActions } from "./actions.js";
import { queueState } from "./words.js";

const EVERY_S = 5;
const path = (name, rest = "") => `api/queues/${encodeURIComponent(name)}${rest}`;
const told = (queue) => `${queue.name} is ${queueState(queue).text}, with ${limit(queue.concurrency)}`;
const limit = (concurrency) => (concurrency === null ? "no limit" : `${number(concurrency)} at once`);

export function Queues() {
  const polled = usePolled("api/queues", EVERY_S);
  const actions = useActions(polled.reload);
  const [asking, setAsking] = useState(null); // {of: "pause" or "limit", queue}
  const { data, error, reload } = polled;
  const columns = [
    { key: "name", title: "Queue" },
    { key: "state", title: "State", render: (row) => html`<${Badge} level=${queueState(row).level}>${queueState(row).text}<//>` },
    { key: "queued", title: "Queued", align: "right", render: (row) => number(row.queued) },
    { key: "running", title: "Running", align: "right", render: (row) => number(row.running) },
    { key: "concurrency", title: "Limit", render: (row) => limit(row.concurrency) },
    {
      ...{ key: "actions", title: "Actions", sort: false },
      render: (row) => html`
        <div class="actions">
          ${row.paused
            ? html`<${Act} actions=${actions} label="Resume" of=${row.name}
                action=${{ key: `${row.name} resume`, path: path(row.name, "/resume"), told }} />`
            : html`<${Button} onClick=${() => setAsking({ of: "pause", queue: row })}>Pause<span class="unseen"> ${row.name}</span><//>`}
          <${Button} onClick=${() => setAsking({ of: "limit", queue: row })}>Limit<span class="unseen"> ${row.name}</span><//>
        </div>
      `,
    },
  ];
  const close = () => setAsking(null);
  return html`
    <${Card} title="Queues" note="While a queue is paused its runs wait; what is running goes on.">
      <${Outcome} actions=${actions} />
      <${ErrorBox} error=${error} retry=${reload} what="The queues cannot be read" />
      ${data === null && error === null && html`<${Loading} />`}
      ${data !== null && html`<${Table} stacked caption="Queues" columns=${columns} rows=${data.queues} rowKey=${({ name }) => name} sortable />`}
      <${Dialog} title=${asking?.of === "limit" ? `Limit ${asking.queue.name}` : `Pause ${asking?.queue.name ?? ""}?`} open=${asking !== null} onClose=${close}>
        ${asking?.of === "pause" && html`<${Pause} actions=${actions} name=${asking.queue.name} onClose=${close} />`}
        ${asking?.of === "limit" && html`<${Limit} actions=${actions} queue=${asking.queue} onClose=${close} />`}
      <//>
    <//>
  `;
}

function Pause({ actions, name, onClose }) {
  const [duration, setDuration] = useState("15m");
  const [wrong, setWrong] = useState(null);
  const pause = async (event) => {
    event.preventDefault();
    const text = duration.trim();
    const query = text === "" ? "" : `?${new URLSearchParams({ for: text })}`;
    const answered = await actions.act({ key: `${name} pause`, path: path(name, `/pause${query}`), told, quiet: true });
    const found = wrongFields(answered?.error).for;
    if (found) setWrong(found);
    else if (answered) onClose();
  };
  return html`
    <form onSubmit=${pause} noValidate>
      <p>No host begins a run of it meanwhile; schedules go on to fire into it.</p>
      <${Field} label="For how long" hint="such as 90s, 15m, 2h or 1d; empty: until it is resumed" error=${wrong}>
        ${(carried) => html`<input type="text" autocomplete="off" ...${carried} value=${duration} onInput=${(event) => setDuration(event.currentTarget.value)} />`}
      <//>
      <div class="dialog-actions">
        <${Button} type="submit" kind="danger">Pause ${name}<//>
        <${Button} onClick=${onClose}>Cancel<//>
      </div>
    </form>
  `;
}

function Limit({ actions, queue, onClose }) {
  const [text, setText] = useState(queue.concurrency === null ? "" : String(queue.concurrency));
  const [wrong, setWrong] = useState(null);
  const set = async (event) => {
    event.preventDefault();
    const concurrency = text.trim() === "" ? null : asNumber(text.trim());
    const answered = await actions.act({
      ...{ key: `${queue.name} limit`, method: "PATCH", path: path(queue.name), body: { concurrency } },
      ...{ told, quiet: true },
    });
    const found = wrongFields(answered?.error).concurrency;
    if (found) setWrong(found);
    else if (answered) onClose();
  };
  return html`
    <form onSubmit=${set} noValidate>
      <${Field} label="Runs at once, over all hosts" hint="a whole number; empty: no limit" error=${wrong}>
        ${(carried) => html`<input type="text" inputmode="numeric" autocomplete="off" ...${carried} value=${text} onInput=${(event) => setText(event.currentTarget.value)} />`}
      <//>
      <div class="dialog-actions">
        <${Button} type="submit" kind="primary">Set the limit<//>
        <${Button} onClick=${onClose}>Cancel<//>
      </div>
    </form>
  `;
}

/** A number if the text is one: what is none goes to the API as it is, which says what is allowed. */
const asNumber = (text) => (Number.isFinite(Number(text)) ? Number(text) : text);
