// The exchanges: whether they are asked, what of their limits is used, and how their streams do.
import { useState } from "preact/hooks";
import { announce } from "../../lib/announce.js";
import { send } from "../../lib/api.js";
import { age, ago, capital, number, plural } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Badge, Button, Card, ErrorBox } from "../../lib/ui.js";
import { named } from "../market/exchanges.js";

// What a problem of an exchange makes of its state; the problem itself says the rest.
const STATES = {
  exchange_absent: "Absent",
  exchange_banned: "Banned",
  exchange_geo_blocked: "Blocked here",
  exchange_paused: "Paused",
};

export function Exchanges({ status, now, reload }) {
  const hasWorker = status.processes.workers.length > 0;
  return Object.entries(status.exchanges).map(([name, exchange]) => {
    const problem = status.problems.find(({ kind, subject }) => subject === name && kind in STATES);
    return html`<${Exchange} key=${name} ...${{ name, exchange, problem, hasWorker, now, reload }} />`;
  });
}

function Exchange({ name, exchange, problem, hasWorker, now, reload }) {
  const [refused, setRefused] = useState(null);
  const { pause, list, feed, closing } = exchange;
  const lift = async () => {
    setRefused(null);
    try {
      await send("DELETE", `exchanges/${name}/pause`);
      announce(`${named(name)} is asked again`);
      reload();
    } catch (error) {
      setRefused(error);
    }
  };
  return html`
    <${Card} title=${named(name)} actions=${html`<${State} ...${{ pause, problem, hasWorker }} />`}>
      <${ErrorBox} error=${refused} what="The pause stays" />
      ${pause &&
      html`<div class="box box-warning pause">
        <p><strong>Paused for ${age(pause.left_s)} more:</strong> ${pause.cause}</p>
        <${Button} onClick=${lift}>Lift the pause<//>
      </div>`}
      <dl class="facts">
        ${facts({ list, feed, closing, exchange, now }).map(
          ([title, value, hint]) => html`<div key=${title} title=${hint}><dt>${title}</dt><dd>${value}</dd></div>`,
        )}
      </dl>
      <${Budgets} budgets=${exchange.budgets} name=${name} />
    <//>
  `;
}

function State({ pause, problem, hasWorker }) {
  if (problem) return html`<${Badge} level=${problem.severity}>${STATES[problem.kind]}<//>`;
  if (pause) return html`<${Badge} level="warning">Paused<//>`;
  return hasWorker ? html`<${Badge} level="ok">Asked<//>` : html`<${Badge} level="off">Not asked: no worker<//>`;
}

function facts({ list, feed, closing, exchange, now }) {
  const found = [];
  if (list !== null) {
    const failed = list.failures > 0 ? `, not read ${plural(list.failures, "time")} in a row` : "";
    found.push(["Markets", `${number(list.enabled)} of ${number(list.markets)} collected${failed}`]);
  }
  if (exchange.last_success !== null) found.push(["Last success", ago(exchange.last_success, now)]);
  if (exchange.failing_markets?.count > 0) found.push(["Failing", failing(exchange.failing_markets)]);
  if (!exchange.is_live) found.push(["Streams", "off: candles are asked for"]);
  else if (feed === null) found.push(["Streams", "nobody feeds them: candles are asked for"]);
  else {
    found.push(["Streams", `${number(feed.markets)} markets on ${plural(feed.connections, "connection")}, ${number(feed.messages_per_s)} messages a second`]);
    if (feed.lag_ms.p50 !== null) {
      found.push(["Closes come", `${seconds(feed.lag_ms.p50)} late, ${seconds(feed.lag_ms.p99)} at worst`, "median and 99th percentile of the newest 4096 closes"]);
    }
    const unproven = Object.entries(feed.unproven).filter(([reason]) => reason !== "silent");
    if (unproven.length > 0) {
      found.push(["By request", unproven.map(([reason, count]) => `${number(count)} ${reason.replaceAll("_", " ")}`).join(", ")]);
    }
    if (feed.last_failure) found.push(["Last failure", feed.last_failure]);
  }
  if (closing !== null) {
    const parts = [[closing.stream, "by stream"], [closing.rest, "by request"], [closing.lacking, "lacking"]];
    found.push(["Newest close", parts.filter(([count]) => count > 0).map(([count, how]) => `${number(count)} ${how}`).join(", ")]);
  }
  if (exchange.clock !== null) {
    const { offset_ms: offset } = exchange.clock;
    found.push(["Clock", `${number(Math.abs(offset))} ms ${offset < 0 ? "behind" : "ahead of"} ours`]);
  }
  return found;
}

const seconds = (ms) => `${number(ms / 1000, 1)} s`;
const failing = ({ count, names }) => `${plural(count, "market")}${names.length > 0 ? `: ${names.join(", ")}${count > names.length ? " …" : ""}` : ""}`;

/** How much of each limit is used now. */
function Budgets({ budgets, name }) {
  if (budgets === null || Object.keys(budgets).length === 0) return null;
  return html`
    <ul class="budgets" aria-label="Limits of ${named(name)}">
      ${Object.entries(budgets).map(
        ([limit, { quantity, window_s: windowS, used }]) => html`
          <li key=${limit}>
            <span class="budget-name">${capital(limit.replaceAll("_", " "))}</span>
            <meter min="0" max=${quantity} low=${quantity * 0.8} high=${quantity * 0.95} optimum="0" value=${used} aria-label="${limit} used" />
            <span class="muted nowrap">${number(used)} of ${number(quantity)} in ${age(windowS)}</span>
          </li>
        `,
      )}
    </ul>
  `;
}
