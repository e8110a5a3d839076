// The view Now: what is wrong and since when, the documents and the exchanges at a glance, the jobs.
import { useEffect, useRef } from "preact/hooks";
import { announce } from "../lib/announce.js";
import { useEvents } from "../lib/events.js";
import { plural } from "../lib/format.js";
import { html } from "../lib/html.js";
import { useNow, useStatus } from "../lib/status.js";
import { ErrorBox, Loading } from "../lib/ui.js";
import { Documents } from "./now/documents.js";
import { Exchanges } from "./now/exchanges.js";
import { Jobs } from "./now/jobs.js";
import { Problems, useToldProblems } from "./now/problems.js";
import { Service } from "./now/service.js";
import { Summary } from "./now/summary.js";

const TELLING = "event=document,job,pause,alert,stale";
const MADE_EVERY_MS = 1100; // the API makes its status once a second
const SOONEST_MS = 700; // a pass publishes ten documents within a second or two

export default function Now() {
  const { data, error, reload } = useStatus();
  const now = useNow();
  const told = useReloads(reload);
  useToldProblems(data?.problems);
  if (data === null) {
    return html`
      <h1 tabindex="-1">Now</h1>
      ${error ? html`<${ErrorBox} error=${error} retry=${reload} />` : html`<${Loading} what="Asking the service" />`}
    `;
  }
  return html`
    <h1 tabindex="-1">Now</h1>
    <${Summary} status=${data} now=${now} />
    <div class="now">
      <${Problems} problems=${data.problems} now=${now} />
      <div class="now-columns">
        <div class="stack">
          <${Documents} documents=${data.documents} now=${now} fresh=${told} reload=${reload} />
          <${Jobs} jobs=${data.jobs} now=${now} />
        </div>
        <div class="stack">
          <${Exchanges} status=${data} now=${now} reload=${reload} />
          <${Service} status=${data} now=${now} />
        </div>
      </div>
    </div>
  `;
}

/**
 * Asks for the status as soon as something happens, a few events at once, and again when the API has
 * made it anew. Returns the names of the documents that were published a moment ago.
 */
function useReloads(reload) {
  const held = useRef({ timer: null, again: null, last: 0, published: new Set(), fresh: new Set() }).current;
  useEffect(
    () => () => {
      clearTimeout(held.timer);
      clearTimeout(held.again);
    },
    [held],
  );
  useEvents(TELLING, ({ type, data }) => {
    if (type === "document") held.published.add(data.name);
    clearTimeout(held.again);
    held.again = setTimeout(reload, MADE_EVERY_MS);
    if (held.timer !== null) return;
    const waitMs = Math.max(0, held.last + SOONEST_MS - Date.now());
    held.timer = setTimeout(() => {
      held.timer = null;
      held.last = Date.now();
      held.fresh = held.published;
      held.published = new Set();
      if (held.fresh.size > 0) {
        announce(`${plural(held.fresh.size, "document")} published: ${[...held.fresh].join(", ")}`);
      }
      reload();
    }, waitMs);
  });
  return held.fresh;
}
