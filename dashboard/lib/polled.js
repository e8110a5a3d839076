// Values that are asked for again and again: one poll per path, however many components show it,
// and none while the page is hidden.
import { useCallback, useEffect, useState } from "preact/hooks";
import { get } from "./api.js";

const polls = new Map();

class Poll {
  constructor(path) {
    this.path = path;
    this.state = { data: null, error: null, at: null };
    this.listeners = new Map(); // what to call, and every how many seconds
    this.timer = null;
    this.asking = null;
  }

  add(listener, seconds) {
    this.listeners.set(listener, seconds);
    if (this.listeners.size === 1) this.ask();
  }

  remove(listener) {
    this.listeners.delete(listener);
    if (this.listeners.size === 0) {
      this.stop();
      polls.delete(this.path);
    }
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.asking?.abort();
    this.asking = null;
  }

  /** Asks now; a request that is under way is given up for it. */
  async ask() {
    this.stop();
    if (document.hidden) return; // it is asked again as soon as it is seen
    const asking = (this.asking = new AbortController());
    let told;
    try {
      const { data } = await get(this.path, { signal: asking.signal });
      told = { data, error: null, at: Date.now() };
    } catch (error) {
      told = { ...this.state, error };
    }
    if (this.asking !== asking) return;
    this.asking = null;
    this.state = told;
    for (const listener of [...this.listeners.keys()]) listener(told);
    if (this.listeners.size > 0) {
      const everyMs = Math.min(...this.listeners.values()) * 1000;
      this.timer = setTimeout(() => this.ask(), everyMs);
    }
  }
}

document.addEventListener("visibilitychange", () => {
  for (const poll of polls.values()) document.hidden ? poll.stop() : poll.ask();
});

/**
 * The newest answer to a GET, asked for every so many seconds: `{data, error, at, reload}`. After an
 * error the last `data` stays, `at` says when it came (ms). A path of null asks for nothing.
 */
export function usePolled(path, seconds) {
  const [state, setState] = useState(() => polls.get(path)?.state ?? EMPTY);
  useEffect(() => {
    if (path === null) {
      setState(EMPTY);
      return undefined;
    }
    let poll = polls.get(path);
    if (poll === undefined) polls.set(path, (poll = new Poll(path)));
    setState(poll.state);
    const listener = (told) => setState(told);
    poll.add(listener, seconds);
    return () => poll.remove(listener);
  }, [path, seconds]);
  const reload = useCallback(() => polls.get(path)?.ask(), [path]);
  return { ...state, reload };
}

const EMPTY = { data: null, error: null, at: null };
