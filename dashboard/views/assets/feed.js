// What the view Assets reads: an answer of GET /market, asked for again after every publish.
import { useEffect, useRef } from "preact/hooks";
import { useEvents } from "../../lib/events.js";
import { usePolled } from "../../lib/polled.js";

const EVERY_S = 60; // where no event tells of it
const BEHIND_MS = [300, 2_000]; // the overview is published behind the documents of its run

/** `{data, error, at, reload}` of a path, as usePolled has it; null asks for nothing. */
export function useOverview(path) {
  const polled = usePolled(path, EVERY_S);
  const timers = useRef([]);
  const forget = () => timers.current.forEach(clearTimeout);
  useEffect(() => forget, [path]);
  useEvents(path === null ? null : "event=document", () => {
    forget();
    timers.current = BEHIND_MS.map((ms) => setTimeout(polled.reload, ms));
  });
  return polled;
}
