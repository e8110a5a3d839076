// Collectors: what is wanted of each and what it does; start, stop, restart, disable; its symbols.
import { useState } from "preact/hooks";
import { age, ago, number, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { href } from "../../lib/route.js";
import { useNow } from "../../lib/status.js";
import { Badge, Button, Card, Empty, ErrorBox, Field, Loading, Table } from "../../lib/ui.js";
import { Act, Outcome, useActions } from "./actions.js";
import { Facts } from "./facts.js";
import { collectorState } from "./words.js";

const EVERY_S = 4;
const path = (name, rest = "") => `api/collectors/${encodeURIComponent(name)}${rest}`;

export function Collectors() {
  const polled = usePolled("api/collectors", EVERY_S);
  const actions = useActions(polled.reload);
  const now = useNow(2);
  const { data, error, reload } = polled;
  const columns = [
    { key: "name", title: "Collector", render: ({ name }) => html`<a href=${href("work", ["collectors", name])}>${name}</a>` },
    { key: "exchange", title: "Exchange", sort: ({ desired }) => desired.exchange, render: ({ desired }) => desired.exchange },
    { key: "data", title: "Data", sort: false, render: ({ desired }) => desired.data_types.join(", ") },
    { key: "symbols", title: "Symbols", align: "right", sort: ({ desired }) => desired.symbols.length, render: ({ desired }) => number(desired.symbols.length) },
    { key: "state", title: "State", sort: (row) => collectorState(row).text, render: (row) => html`<${State} of=${row} />` },
    { key: "told", title: "Told", sort: ({ actual }) => actual?.at, render: ({ actual }) => actual && ago(actual.at, now) },
    { key: "actions", title: "Actions", sort: false, render: (row) => html`<${Switches} actions=${actions} row=${row} />` },
  ];
  return html`
    <${Outcome} actions=${actions} />
    <${Card} title="Live collectors" note="What is wanted of them is kept, also over restarts, and done within some 3 seconds." wide>
      <${ErrorBox} error=${error} retry=${reload} what="The collectors cannot be read" />
      ${data === null && error === null && html`<${Loading} />`}
      ${data !== null && data.collectors.length === 0 && html`<${Empty}>There are none: COLLECTORS names a file of them (docs/collectors.md).<//>`}
      ${data !== null && data.collectors.length > 0 &&
      html`<${Table} stacked caption="Live collectors" columns=${columns} rows=${data.collectors} rowKey=${({ name }) => name} sortable />`}
    <//>
  `;
}

function State({ of }) {
  const { level, text, why } = collectorState(of);
  return html`<${Badge} level=${level}>${text}<//>${why && html`<div class="why">${why}</div>`}`;
}

/** Start or stop, restart, enable or disable. */
function Switches({ actions, row: { name, desired } }) {
  const told = (now) => `${name}: wanted now: ${wanted(now)}`;
  const confirms = {
    stop: { title: `Stop ${name}?`, text: "It is stopped now and stays so, also after a restart of the service, until it is started.", button: `Stop ${name}` },
    restart: { title: `Restart ${name}?`, text: "Its connections are closed and opened again; what comes meanwhile is missed.", button: `Restart ${name}` },
    disable: { title: `Disable ${name}?`, text: "It is stopped, and not started with the others until it is enabled.", button: `Disable ${name}` },
  };
  const action = (verb) => ({ key: `${name} ${verb}`, path: path(name, `/${verb}`), confirm: confirms[verb], told });
  const first = desired.running || !desired.enabled ? "stop" : "start";
  return html`
    <div class="actions">
      ${desired.enabled && html`<${Act} actions=${actions} action=${action(first)} label=${first === "stop" ? "Stop" : "Start"} of=${name} />`}
      ${desired.enabled && html`<${Act} actions=${actions} action=${action("restart")} label="Restart" of=${name} />`}
      <${Act} actions=${actions} action=${action(desired.enabled ? "disable" : "enable")} label=${desired.enabled ? "Disable" : "Enable"} of=${name} />
    </div>
  `;
}

const wanted = ({ enabled, running }) => (!enabled ? "disabled" : running ? "running" : "stopped");

/** One collector: its whole status, and its symbols. */
export function Collector({ name }) {
  const polled = usePolled(path(name), EVERY_S);
  const actions = useActions(polled.reload);
  const now = useNow(2);
  const { data, error, reload } = polled;
  return html`
    <p><a href=${href("work", ["collectors"])}>All collectors</a></p>
    <${Outcome} actions=${actions} />
    <${ErrorBox} error=${error} retry=${reload} what=${`${name} cannot be read`} />
    ${data === null && error === null && html`<${Loading} />`}
    ${data !== null &&
    html`
      <${Card} title=${name} actions=${html`<${Switches} actions=${actions} row=${data} />`} wide>
        <p><${State} of=${data} /></p>
        <${Facts} facts=${factsOf(data, now)} />
        <${Connections} of=${data.actual?.collector?.connections ?? []} />
      <//>
      <${Symbols} actions=${actions} of=${data.desired} refused=${data.actual?.collector?.streams?.refused} />
    `}
  `;
}

function factsOf({ desired, actual }, now) {
  const statistics = actual?.collector?.statistics;
  const outputs = Object.entries(actual?.outputs ?? {});
  return [
    ["Exchange", desired.exchange],
    ["Data", [...desired.data_types, ...desired.timeframes].join(", ")],
    ["Wanted", wanted(desired)],
    ["Changed over HTTP", desired.changed_at === null ? "never" : ago(desired.changed_at, now)],
    ["Held by", actual && `${actual.holder}, since ${age((now - actual.since) / 1000)}`],
    ["Messages", statistics && number(statistics.messages_processed)],
    ["Errors", statistics && number(statistics.errors)],
    ["Last error", statistics?.last_error],
    ["Restarts asked for", number(desired.restarts)],
    ...outputs.map(([output, counts]) => [
      `Output ${output}`,
      ["queued", "sent", "dropped", "errors"].filter((key) => Number.isFinite(counts[key])).map((key) => `${number(counts[key])} ${key}`).join(", "),
    ]),
  ];
}

function Connections({ of }) {
  if (of.length === 0) return null;
  const columns = [
    { key: "route", title: "Connection", render: (row) => html`<code>${row.route}</code>` },
    { key: "state", title: "State" },
    { key: "streams", title: "Streams", align: "right", render: (row) => number(row.streams) },
    { key: "messages", title: "Messages", align: "right", render: (row) => number(row.messages) },
    { key: "age_s", title: "Open for", render: (row) => age(row.age_s) },
    { key: "last_message_age_s", title: "Last message", render: (row) => `${age(row.last_message_age_s)} ago` },
  ];
  return html`<${Table} stacked caption="Connections" columns=${columns} rows=${of} rowKey=${(row, index) => `${row.epoch}-${index}`} />`;
}

/** The symbols, each with a button that removes it, and a field for another. */
function Symbols({ actions, of, refused }) {
  const [symbol, setSymbol] = useState("");
  const [wrong, setWrong] = useState(null);
  const { name, symbols } = of;
  const asked = (method, which, told, confirm) =>
    actions.act({ key: `${name} ${which}`, method, path: path(name, `/symbols/${encodeURIComponent(which)}`), told, confirm });
  const told = (now) => `${name} follows ${plural(now.symbols.length, "symbol")}: ${now.symbols.join(", ")}`;
  const add = async (event) => {
    event.preventDefault();
    const which = symbol.trim();
    if (which === "") return setWrong("write a symbol, such as SOL-USDT");
    const answered = await asked("POST", which, told);
    if (answered?.error) setWrong(answered.error.detail);
    else if (answered) {
      setWrong(null);
      setSymbol("");
    }
    return undefined;
  };
  const remove = (which) =>
    asked("DELETE", which, told, { title: `Remove ${which}?`, text: `${name} follows it no more.`, button: `Remove ${which}` });
  return html`
    <${Card} title="Symbols" note="Changed without a restart. The file of COLLECTORS stays as it is.">
      <ul class="symbols">
        ${symbols.map(
          (each) => html`<li key=${each}><code>${each}</code>
            <${Button} onClick=${() => remove(each)} aria-label=${`Remove ${each}`}>Remove<//></li>`,
        )}
      </ul>
      ${refused?.length > 0 && html`<p class="note">The exchange does not have ${refused.join(", ")}.</p>`}
      <form class="row" onSubmit=${add} noValidate>
        <${Field} label="Another symbol" error=${wrong} hint="as the file may write it: SOL-USDT, SOLUSDT or SOL/USDT:USDT">
          ${(carried) => html`<input type="text" autocomplete="off" spellcheck=${false} maxlength="100" ...${carried}
            value=${symbol} onInput=${(event) => setSymbol(event.currentTarget.value)} />`}
        <//>
        <${Button} type="submit" kind="primary">Add<//>
      </form>
    <//>
  `;
}
