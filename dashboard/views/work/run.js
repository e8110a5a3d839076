// One run: its state, what it returned or why it failed, and its log, followed while it goes on.
import { useEffect, useRef } from "preact/hooks";
import { announce } from "../../lib/announce.js";
import { number, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { href } from "../../lib/route.js";
import { useNow } from "../../lib/status.js";
import { Badge, Card, ErrorBox, Loading } from "../../lib/ui.js";
import { Outcome, useActions } from "./actions.js";
import { Facts, Json } from "./facts.js";
import { LogOfRun } from "./log.js";
import { RunSwitch } from "./worker.js";
import { runState, took, tookMs, whyRun } from "./words.js";

const EVERY_S = 2;

export function Run({ id }) {
  const polled = usePolled(/^[0-9]{1,19}$/.test(id) ? `api/runs/${id}` : null, EVERY_S);
  const actions = useActions(polled.reload);
  const now = useNow(1);
  const { data, error, reload } = polled;
  useTold(data);
  if (!/^[0-9]{1,19}$/.test(id)) return html`<${ErrorBox} error=${{ detail: `a run's id is a number, not ${id}` }} />`;
  return html`
    <p>
      <a href=${href("work", ["workers"])}>All workers</a>
      ${data !== null && html` · <a href=${href("work", ["workers", data.worker])}>${data.worker}</a>`}
    </p>
    <${Outcome} actions=${actions} />
    <${ErrorBox} error=${error} retry=${reload} what=${`Run ${id} cannot be read`} />
    ${data === null && error === null && html`<${Loading} />`}
    ${data !== null &&
    html`
      <${Card} title=${`Run ${data.id} of ${data.worker}`} actions=${html`<${RunSwitch} actions=${actions} run=${data} />`} wide>
        <p><${Badge} level=${runState(data.state).level}>${data.state}<//></p>
        ${data.error && html`<div class="box box-critical"><p class="why">${data.error}</p></div>`}
        <${Facts} facts=${factsOf(data, now)} />
      <//>
      <${LogOfRun} run=${data.id} isOver=${data.finished_at !== null} key=${data.id} />
    `}
  `;
}

function factsOf(run, now) {
  const time = (ms) => (ms === null ? null : `${utc(ms, "seconds")} UTC`);
  return [
    ["Why", whyRun(run.why)],
    ["Stands for", time(run.slot)],
    ["Queued", time(run.queued_at)],
    ["Started", time(run.started_at)],
    ["Ended", time(run.finished_at)],
    ["Took", run.started_at === null ? null : took(tookMs(run, now))],
    ["Attempts", number(run.attempts)],
    ["Queue", run.queue],
    ["Host", run.host],
    ["Address", run.egress],
    ["Input", run.input === null ? null : html`<${Json} value=${run.input} />`],
    ["Result", run.result === null ? null : html`<${Json} value=${run.result} />`],
  ];
}

/** Tells users of screen readers when the run's state changes while they are here. */
function useTold(run) {
  const before = useRef(null);
  useEffect(() => {
    if (run === null) return;
    if (before.current !== null && before.current !== run.state) announce(`Run ${run.id} is ${run.state}`);
    before.current = run.state;
  }, [run?.state]);
}
