// Lines of the log of a run, or of all workers: the newest ones, followed while more come. Only so
// many are kept here; the API has the rest.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { get } from "../../lib/api.js";
import { plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Card, ErrorBox } from "../../lib/ui.js";

const EVERY_MS = 2000;
const PAGE = 200;
const MOST = 1000; // lines that are kept
const LATE_MS = 10_000; // lines are written a moment after their time
const PASSES_AFTER_END = 3;
const LEVELS = [["", "all"], ["info", "info and above"], ["warning", "warnings and errors"], ["error", "errors"]];
const SEEN_PX = 40; // so near to its end, a log is followed

export function LogOfRun({ run, isOver }) {
  const path = `api/runs/${run}/log`;
  return html`<${Log} title="Log" path=${path} isOver=${isOver} withWorker=${false} />`;
}

export function LogOfAll() {
  return html`<${Log} title="Log of all workers" path="api/execution-log" isOver=${false} withWorker />`;
}

function Log({ title, path, isOver, withWorker }) {
  const [level, setLevel] = useState("");
  const { lines, isCut, error, isFollowed } = useLog(path, level, isOver);
  const pick = html`
    <label class="inline">Show
      <select value=${level} onChange=${(event) => setLevel(event.currentTarget.value)}>
        ${LEVELS.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
      </select>
    </label>
  `;
  return html`
    <${Card} title=${title} actions=${pick} wide>
      <${ErrorBox} error=${error} what="The log cannot be read" />
      ${isCut && html`<p class="note">The newest ${plural(lines.length, "line")}; <code>GET /${path}</code> has the older ones.</p>`}
      <${Lines} title=${title} lines=${lines} withWorker=${withWorker} />
      <p class="note">${plural(lines.length, "line")}. ${isFollowed ? "New lines appear as they are written; scroll to the end to stay with them." : "The run is over."}</p>
    <//>
  `;
}

function Lines({ title, lines, withWorker }) {
  const box = useRef(null);
  const isAtEnd = useRef(true);
  useLayoutEffect(() => {
    if (isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines]);
  const look = ({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
    isAtEnd.current = scrollTop + clientHeight >= scrollHeight - SEEN_PX;
  };
  return html`
    <div class="log" ref=${box} tabindex="0" role="region" aria-label=${`Lines: ${title}`} onScroll=${look}>
      <ol>
        ${lines.map(
          (line) => html`
            <li key=${line.id} class="log-${line.level}">
              <time title="${utc(line.at, "seconds")} UTC">${utc(line.at, "time")}</time>
              <span class="log-level">${line.level}</span>
              ${withWorker &&
              html`<span class="log-worker">${line.run === null ? line.worker : html`<a href=${href("work", ["runs", line.run])}>${line.worker}</a>`}</span>`}
              <span class="log-text">${line.event}${Object.entries(line.fields).map(
                ([key, value]) => html`${" "}<span class="log-field" key=${key}>${key}=${typeof value === "string" ? value : JSON.stringify(value)}</span>`,
              )}</span>
            </li>
          `,
        )}
      </ol>
      ${lines.length === 0 && html`<p class="empty">No lines as yet.</p>`}
    </div>
  `;
}

/** The newest lines, the oldest first: `{lines, isCut, error, isFollowed}`. */
function useLog(path, level, isOver) {
  const [state, setState] = useState(NOTHING);
  const [isFollowed, setFollowed] = useState(true);
  const over = useRef(isOver);
  over.current = isOver;
  useEffect(() => {
    const asking = new AbortController();
    let known = NOTHING;
    let left = PASSES_AFTER_END;
    let timer = null;
    const pass = async () => {
      if (!document.hidden) {
        const wasOver = over.current;
        try {
          known = await grown(path, level, known, asking.signal);
        } catch (error) {
          if (asking.signal.aborted) return;
          known = { ...known, error };
        }
        setState(known);
        if (wasOver && known.error === null && (left -= 1) === 0) {
          setFollowed(false);
          return;
        }
      }
      timer = setTimeout(pass, EVERY_MS);
    };
    setState(NOTHING);
    setFollowed(true);
    pass();
    return () => {
      asking.abort();
      clearTimeout(timer);
    };
  }, [path, level]);
  return { ...state, isFollowed };
}

const NOTHING = { lines: [], isCut: false, error: null };

/** What is known, with the lines that have come since. */
async function grown(path, level, { lines, isCut }, signal) {
  const query = new URLSearchParams({ newest: "true", limit: PAGE });
  if (level !== "") query.set("level", level);
  if (lines.length > 0) query.set("from", lines.at(-1).at - LATE_MS);
  const { data } = await get(`${path}?${query}`, { signal });
  const found = new Map(lines.map((line) => [line.id, line]));
  const isGap = lines.length > 0 && data.next !== null && !data.lines.some(({ id }) => found.has(id));
  if (isGap) found.clear(); // more came than one page has: what is between is not shown
  const before = found.size;
  for (const line of data.lines) found.set(line.id, line);
  if (found.size === before && lines.length > 0) return { lines, isCut, error: null };
  const all = [...found.values()].sort((one, two) => one.at - two.at || one.id - two.id);
  const wasMore = isGap || (lines.length === 0 && data.next !== null);
  return { lines: all.slice(-MOST), isCut: isCut || wasMore || all.length > MOST, error: null };
}
