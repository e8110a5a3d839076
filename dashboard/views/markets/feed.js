// The feed of the view Whole market: two bounded slices of documents, read again after a publish.
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../lib/api.js";
import { useEvents } from "../../lib/events.js";
import { isPassing } from "../market/feed.js";
import { headOf } from "../market/series.js";
import { tableOf } from "./table_of.js";

const DEADLINE_MS = 30_000; // two megabytes of JSON over a slow line
const PAUSE_MS = 5_000; // between two readings, however often documents are published
const NOTHING = { rows: null, head: null, fundingHead: null, error: null, fundingError: null, isLoading: true };

/**
 * `{rows, head, fundingHead, error, fundingError, isLoading, reload}`. `source`: of SOURCES; `hasFunding`:
 * whether there is a document of funding.
 */
export function useTable(source, hasFunding) {
  const [state, setState] = useState(NOTHING);
  const reading = useRef({ timer: null, isBusy: false, isWanted: false });
  const wanted = source === null ? null : `cache/${source.timeframe}?limit=${source.limit}`;

  const read = async (signal) => {
    const mine = reading.current;
    mine.isWanted = true;
    if (mine.isBusy || mine.timer !== null) return;
    mine.isBusy = true;
    mine.isWanted = false;
    const [hours, funding] = await Promise.allSettled([
      get(wanted, { signal, deadlineMs: DEADLINE_MS }),
      hasFunding ? get("cache/global_fr?limit=1", { signal, deadlineMs: DEADLINE_MS }) : null,
    ]);
    if (signal.aborted) return;
    mine.isBusy = false;
    if ([hours, funding].some(({ reason }) => reason && isPassing(reason))) mine.isWanted = true;
    setState((before) => next(before, hours, funding));
    mine.timer = setTimeout(() => {
      mine.timer = null;
      if (mine.isWanted && !document.hidden) read(signal);
    }, PAUSE_MS);
  };
  const stopping = useRef(null);
  useEffect(() => {
    if (wanted === null) return undefined;
    stopping.current = new AbortController();
    reading.current = { timer: null, isBusy: false, isWanted: false };
    const { signal } = stopping.current;
    read(signal);
    const look = () => document.hidden || read(signal);
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      clearTimeout(reading.current.timer);
      stopping.current.abort();
    };
  }, [wanted, hasFunding]);
  useEvents(wanted === null ? null : "event=document", ({ type, data }) => {
    const isOurs = type === "reset" || data.name === source.timeframe || data.name === "global_fr";
    if (isOurs) read(stopping.current.signal);
  });
  return { ...state, reload: () => read(stopping.current.signal) };
}

/** The state after a reading; what could not be read stays as it was. */
function next(before, hours, funding) {
  if (hours.status === "rejected") return { ...before, error: hours.reason, isLoading: false };
  const document = hours.value.data;
  const isTold = funding.status === "fulfilled" && funding.value !== null;
  const rates = isTold ? funding.value.data : before.rates ?? null;
  return {
    rows: tableOf(document, rates),
    rates,
    head: headOf(document),
    total: document.markets.length,
    fundingHead: rates && { asOf: rates.as_of, updatedAt: rates.updated_at },
    missing: document.missing,
    error: null,
    fundingError: funding.status === "rejected" ? funding.reason : null,
    isLoading: false,
  };
}
