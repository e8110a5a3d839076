// States of collectors, workers, runs, jobs, queues and providers in words, each with its level
// (ok, info, warning or critical). Nothing here asks the API or draws.
import { age, ago, number, plural, UNKNOWN, utc } from "../../lib/format.js";
import { classInWords } from "../providers_in_words.js";

const LEVELS_OF_RUNS = {
  queued: "info",
  running: "info",
  active: "info",
  complete: "ok",
  failed: "critical",
  aborted: "warning",
  coalesced: "info",
};
const LEVELS_OF_FEEDS = { open: "ok", connecting: "info", waiting: "warning", failed: "critical" };
const WHYS = {
  schedule: "by its schedule",
  force: "asked for",
  retry: "tried again",
  part: "part of other work",
};
/** What a collector does: `{level, text, why}`. */
export function collectorState({ desired, actual }) {
  if (!desired.enabled) return { level: "info", text: "disabled", why: "" };
  if (!desired.running) return { level: "info", text: "stopped", why: "" };
  if (actual === null) return { level: "critical", text: "no process runs it", why: "" };
  if (actual.error !== null) return { level: "critical", text: "error", why: actual.error };
  const why = actual.issues.join("; ");
  if (actual.status === "running" && actual.is_healthy) return { level: "ok", text: "running", why };
  const level = ["starting", "stopping"].includes(actual.status) ? "info" : "warning";
  return { level, text: actual.status === "running" ? "unhealthy" : actual.status, why };
}

/** A state of a run or a job. */
export function runState(state) {
  return { level: LEVELS_OF_RUNS[state] ?? "info", text: state };
}

/** Why a run was made. */
export const whyRun = (why) => WHYS[why] ?? why;

/** What a worker does now: `{level, text, why}`. */
export function workerState(worker) {
  const { live, enabled } = worker;
  const why = live?.last_error ?? live?.connection?.error ?? "";
  if (worker.kind === "websocket") return { ...feedState(worker), why };
  if (live?.state === "running") return { level: "info", text: "running", why };
  if (!enabled) return { level: "info", text: "stopped", why };
  if (live?.state == null) return { level: "info", text: "has not run lately", why };
  if (live.state === "complete") return { level: "ok", text: "last run complete", why };
  return { ...runState(live.state), text: `last run ${live.state}`, why };
}

function feedState({ enabled, live }) {
  const status = live?.connection?.status ?? null;
  if (!enabled) return { level: "info", text: "stopped" };
  if (status !== null) return { level: LEVELS_OF_FEEDS[status] ?? "info", text: status };
  if (live?.state === "failed") return { level: "critical", text: "given up for now" };
  return { level: "warning", text: "no host holds it" };
}

/** When a worker fires: "every 5 min, 1 min after", "0 15 * * 1-5 (Asia/Ho_Chi_Minh)". */
export function timetable({ cron, every_s, offset_s, tz }) {
  if (cron !== null) return `${cron} (${tz})`;
  if (every_s === null) return "only when it is asked for";
  return `every ${age(every_s)}${offset_s > 0 ? `, ${age(offset_s)} after` : ""}`;
}

/** What a queue does. */
export function queueState({ paused, paused_until }) {
  if (!paused) return { level: "ok", text: "open" };
  const until = paused_until === null ? "until it is resumed" : `until ${utc(paused_until)} UTC`;
  return { level: "warning", text: `paused ${until}` };
}

/** Whether a resource is asked: `{level, text, why}`. */
export function resourceState(resource, nowMs) {
  if (resource.state === "dead") return { level: "info", text: "dead", why: resource.reason ?? "" };
  if (resource.enabled === false) return { level: "info", text: "disabled", why: "" };
  if (resource.state === "off" && resource.enabled !== true) {
    return { level: "info", text: "off", why: resource.reason ?? "until a probe sees it answer" };
  }
  if (resource.key === "missing") {
    return { level: "info", text: "needs a key", why: `set ${resource.key_variable}` };
  }
  if (resource.out_until_ms !== null && resource.out_until_ms > nowMs) {
    const why = classInWords(resource.out_class) ?? "";
    return { level: "warning", text: `out for ${age((resource.out_until_ms - nowMs) / 1000)}`, why };
  }
  if (resource.breaker === "open") {
    return { level: "critical", text: "breaker open", why: resource.last_error ?? "" };
  }
  if (resource.breaker === "half_open") {
    return { level: "warning", text: "being tried", why: resource.last_error ?? "" };
  }
  return { level: "ok", text: "asked", why: "" };
}

/** What is left of a limit: "4 of 4 per 1 s". */
export function limitLeft({ quantity, left, window_s }) {
  return `${number(left)} of ${number(quantity)} per ${age(window_s)}`;
}

/** The worst limit of a resource: the one of which the least is left; null without limits. */
export function tightest(limits) {
  const share = ({ left, quantity }) => (quantity > 0 ? left / quantity : 0);
  return limits.reduce((worst, each) => (worst === null || share(each) < share(worst) ? each : worst), null);
}

/** A job's progress in words. */
export function progressOf({ state, progress }) {
  const { phase, done, total } = progress;
  if (state !== "active" && state !== "queued") return "";
  return total > 0 ? `${phase}: ${number(done)} of ${number(total)}` : phase;
}

/** What a run has brought, in a few words. */
export function resultOf(result) {
  if (result === null || result === undefined) return "";
  if (typeof result !== "object") return String(result);
  const words = [];
  if (Number.isFinite(result.markets)) words.push(plural(result.markets, "market"));
  if (Number.isFinite(result.rows)) words.push(plural(result.rows, "row"));
  if (Number.isFinite(result.missing)) words.push(`${number(result.missing)} missing`);
  if (Number.isFinite(result.requests)) words.push(plural(result.requests, "request"));
  if (Number.isFinite(result.recorded)) words.push(`${number(result.recorded)} recorded`);
  if (Number.isFinite(result.duration_ms)) words.push(took(result.duration_ms));
  return words.length > 0 ? words.join(", ") : JSON.stringify(result);
}

/** How long a run took, or has taken until now (ms). */
export function tookMs({ started_at, finished_at }, nowMs) {
  return started_at === null ? null : Math.max(0, (finished_at ?? nowMs) - started_at);
}

/** A short duration (ms): 44 ms, 2.31 s, 4 min; null is a dash. */
export function took(ms) {
  if (ms === null) return UNKNOWN;
  if (ms < 1000) return `${number(ms)} ms`;
  return ms < 10_000 ? `${number(ms / 1000, 2)} s` : age(ms / 1000);
}

/** A time and how long ago it was: "05:20:31, 12 s ago". */
export const when = (ms, nowMs) => (ms === null ? "" : ago(ms, nowMs));
