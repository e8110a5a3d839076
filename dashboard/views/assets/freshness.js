// Of when the figures of assets are.
import { useEffect, useRef } from "preact/hooks";
import { announce } from "../../lib/announce.js";
import { ago, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { useNow } from "../../lib/status.js";
import { Live } from "../market/lateness.js";

const STEP_MS = 300_000; // from an instant to the next; open interest of the newest may come after it

/** `told`: an answer of GET /market. Screen readers are told when another one takes its place. */
export function Freshness({ told, children }) {
  const now = useNow(1);
  const { at, as_of: asOf, updated_at: updatedAt, version } = told;
  const before = useRef(version);
  useEffect(() => {
    if (before.current !== version) announce(`Figures of ${utc(at)} UTC`);
    before.current = version;
  }, [version]);
  return html`
    <p class="note fresh">
      <${Live} head=${{ lastClosed: at, intervalMs: STEP_MS }} now=${now} />
      All of <time datetime=${new Date(at).toISOString()}>${utc(at)} UTC</time>, read at exchange time ${utc(asOf, "seconds")} UTC, published${" "}
      <time datetime=${new Date(updatedAt).toISOString()}>${ago(updatedAt, now)}</time>.${" "}
      ${children}
    </p>
  `;
}
