// What the view Assets reads: an answer of GET /market, asked for again when another is published.
import { useEvents } from "../../lib/events.js";
import { usePolled } from "../../lib/polled.js";

const EVERY_S = 300; // where no event comes: from one close to the next

/** `{data, error, at, reload}` of a path, as usePolled has it; null asks for nothing. */
export function useOverview(path) {
  const polled = usePolled(path, EVERY_S);
  useEvents(path === null ? null : "event=document", ({ type, data }) => {
    if (type === "reset" || data.name === "overview") polled.reload();
  });
  return polled;
}
