// GET /events: a stream of server-sent events, read by fetch (EventSource cannot send a token),
// which goes on behind the last event after any break. None is open while the page is hidden: a
// browser has only six connections to a host for all its tabs.
import { useEffect, useRef } from "preact/hooks";
import { askToRead, readHeaders, url } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
const SILENT_MS = 40_000; // a comment comes every 15 s

/**
 * Calls `onEvent({type, data, id})` for every event of this query, e.g. "event=document,job".
 * `data` is parsed. A query of null listens to nothing. `onEvent` may be another one each time.
 */
export function useEvents(query, onEvent) {
  const newest = useRef(onEvent);
  newest.current = onEvent;
  useEffect(() => {
    if (query === null) return undefined;
    let reading = null;
    let lastId = "";
    const look = () => {
      reading?.abort();
      reading = null;
      if (document.hidden) return;
      reading = new AbortController();
      follow(query, reading.signal, lastId, (event) => {
        lastId = event.id;
        newest.current(event);
      });
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      reading?.abort();
    };
  }, [query]);
}

async function follow(query, signal, lastId, onEvent) {
  let pauseMs = FIRST_PAUSE_MS;
  let id = lastId;
  let wasWrong = false;
  while (!signal.aborted) {
    try {
      const status = await readOnce(query, signal, id, (event) => {
        id = event.id;
        pauseMs = FIRST_PAUSE_MS;
        onEvent(event);
      });
      if (status === 401 && (await askToRead(wasWrong))) {
        wasWrong = true;
        continue;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TypeError) && error.name !== "AbortError") console.error(error);
    }
    await paused(pauseMs, signal);
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }
}

/** Reads one stream to its end; the status of the answer. */
async function readOnce(query, signal, lastId, onEvent) {
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENT_MS);
  try {
    const response = await fetch(url(`events?${query}`), {
      headers: {
        Accept: "text/event-stream",
        ...(lastId && { "Last-Event-ID": lastId }),
        ...readHeaders(),
      },
      signal: AbortSignal.any([signal, silent.signal]),
      cache: "no-store",
    });
    if (!response.ok) return response.status;
    const parse = parser(lastId, onEvent);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return response.status;
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENT_MS);
      parse(value);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Takes pieces of the text of a stream (WHATWG HTML, 9.2.6) and calls back with its events. */
export function parser(lastId, onEvent) {
  let rest = "";
  let event = { type: "message", data: [] };
  let id = lastId;
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (event.data.length > 0) {
          onEvent({ type: event.type, id, data: JSON.parse(event.data.join("\n")) });
        }
        event = { type: "message", data: [] };
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") event.type = value;
      else if (field === "data") event.data.push(value);
      else if (field === "id") id = value;
    }
  };
}

function paused(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end); // a page may wait for days
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
