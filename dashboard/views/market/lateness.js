// Whether a document is as new as it should be: it has the last candle that closed.
import { html } from "../../lib/html.js";
import { utc } from "../../lib/format.js";
import { Badge } from "../../lib/ui.js";

const GRACE_MS = 120_000; // from a close to its publish

/** The close that a document should have by now and has not (ms), or null. */
export function lackingClose({ lastClosed, intervalMs }, nowMs) {
  const closeMs = Math.floor((nowMs - GRACE_MS) / intervalMs) * intervalMs;
  return lastClosed + intervalMs < closeMs ? closeMs : null;
}

/** "live", or that a close has not come. */
export function Live({ head, now }) {
  const closeMs = lackingClose(head, now);
  return closeMs === null
    ? html`<${Badge} level="ok">live<//>`
    : html`<${Badge} level="warning">old: without the candle that closed at ${utc(closeMs)} UTC<//>`;
}
