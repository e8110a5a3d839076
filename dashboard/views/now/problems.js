// What is wrong, the worst first: in words, since when, and what can be done about it.
import { useEffect, useRef } from "preact/hooks";
import { announce } from "../../lib/announce.js";
import { ago, capital, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Badge } from "../../lib/ui.js";

const SEVERITIES = { critical: "Critical", warning: "Warning" };
// Where a kind of problem is looked into: a view, and what the link says.
const PLACES = {
  collector_failed: ["work", ["collectors"], "Collectors"],
  schedule_failing: ["work", ["schedules"], "Schedules"],
  no_worker: ["work", ["workers"], "Workers"],
  job_failing: ["work", ["jobs"], "Jobs and their runs"],
  chain_dead: ["work", ["providers"], "Providers"],
  value_quarantined: ["work", ["providers"], "Providers"],
  markets_missing: ["markets", [], "Whole market"],
  markets_stale: ["markets", [], "Whole market"],
};

export function Problems({ problems, now }) {
  if (problems.length === 0) {
    return html`
      <section class="card problems" aria-labelledby="problems">
        <h2 id="problems" class="calm"><${Badge} level="ok">Nothing is wrong<//></h2>
      </section>
    `;
  }
  return html`
    <section class="card problems" aria-labelledby="problems">
      <div class="card-head"><h2 id="problems">${plural(problems.length, "problem")}</h2></div>
      <ul class="problem-list">
        ${problems.map((problem) => html`<${Problem} key=${problem.id} problem=${problem} now=${now} />`)}
      </ul>
    </section>
  `;
}

function Problem({ problem, now }) {
  const place = PLACES[problem.kind];
  return html`
    <li class="problem problem-${problem.severity}">
      <div class="problem-side">
        <${Badge} level=${problem.severity}>${SEVERITIES[problem.severity] ?? problem.severity}<//>
        ${problem.since !== null &&
        html`<time class="muted nowrap" datetime=${new Date(problem.since).toISOString()} title="${utc(problem.since, "seconds")} UTC">
          ${ago(problem.since, now)}
        </time>`}
      </div>
      <div class="problem-words">
        <p class="problem-text">${sentence(problem.text, problem.subject)}</p>
        <p class="muted">
          ${sentence(problem.todo)}
          ${place && html` <a href=${href(place[0], place[1])}>${place[2]}</a>`}
        </p>
      </div>
    </li>
  `;
}

/** Tells users of screen readers of problems that begin and end; not of those found at first. */
export function useToldProblems(problems) {
  const known = useRef(null);
  useEffect(() => {
    if (problems === undefined) return;
    const now = new Map(problems.map((problem) => [problem.id, problem]));
    const before = known.current;
    known.current = now;
    if (before === null) return;
    const begun = [...now.values()].filter(({ id }) => !before.has(id));
    const ended = [...before.values()].filter(({ id }) => !now.has(id));
    const texts = [
      ...begun.map(({ text }) => `New problem: ${text}`),
      ...ended.map(({ text }) => `Over: ${text}`),
    ];
    if (texts.length > 0) announce(texts.join(". "));
  }, [problems]);
}

/** A text as a sentence: it ends, and begins with a capital, unless a name begins it. */
function sentence(text, name = "") {
  const begun = name !== "" && text.startsWith(name) ? text : capital(text);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
