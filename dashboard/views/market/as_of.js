// The choice of a time: a market as it was known then. A slider over what is recorded, and a field for
// an exact time; it always says what instant is shown, and that it is not now.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { html } from "../../lib/html.js";
import { ago, utc } from "../../lib/format.js";
import { useNow } from "../../lib/status.js";
import { Button } from "../../lib/ui.js";

const STEPS = [1, 5, 10, 30, 60, 300, 900, 1800, 3600, 4 * 3600, 86_400].map((s) => s * 1000);
const MOST_STEPS = 500;
const SETTLED_MS = 200;

/** The slider's step for so many ms: at most the timeframe's interval, at most 500 steps. */
export function stepOf(lengthMs, intervalMs) {
  const least = STEPS.find((step) => lengthMs / step <= MOST_STEPS) ?? STEPS.at(-1);
  return lengthMs / intervalMs > MOST_STEPS ? Math.max(least, intervalMs) : Math.min(least, intervalMs);
}

/**
 * `since`: since when what is shown is known (ms), null while that is not known, Infinity if nothing is
 * recorded; `asOf`: the time that is chosen, null for now; `shown`: the head of what is shown.
 */
export function AsOf({ timeframe, intervalMs, since, asOf, shown, isLoading, onChange }) {
  const now = useNow(10);
  const [picked, setPicked] = useState(asOf);
  const timer = useRef(null);
  const id = useId();
  useEffect(() => setPicked(asOf), [asOf]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const pick = (ms, isSettled = false) => {
    setPicked(ms);
    clearTimeout(timer.current);
    if (isSettled) onChange(ms);
    else timer.current = setTimeout(() => onChange(ms), SETTLED_MS);
  };
  if (since === null && asOf === null) return null;
  if (since === Infinity) {
    return html`<p class="note">Nothing of ${timeframe} is recorded, so it can only be shown as it is now.</p>`;
  }
  const from = since ?? asOf;
  const step = stepOf(now - from, intervalMs);
  const least = Math.ceil(from / step) * step;
  const most = Math.max(least, Math.floor(now / step) * step);
  const at = picked ?? most;
  const onSlide = (event) => pick(Number(event.currentTarget.value));
  const onExact = (event) => {
    const ms = Date.parse(`${event.currentTarget.value}Z`);
    if (Number.isFinite(ms)) pick(ms, true);
  };
  return html`
    <div class="as-of ${picked === null ? "" : "as-of-then"}" role="group" aria-label="The market as it was known at a time">
      <div class="as-of-slide">
        <label for="${id}-slide">As of</label>
        <input
          id="${id}-slide"
          type="range"
          min=${least}
          max=${most}
          step=${step}
          value=${Math.min(most, Math.max(least, at))}
          aria-valuetext=${picked === null ? "now" : `${utc(at, "seconds")} UTC, ${ago(at, now)}`}
          onInput=${onSlide}
        />
        <span class="as-of-ends muted"><span>known since ${utc(from)}</span><span>now</span></span>
      </div>
      <div class="as-of-exact">
        <label for="${id}-exact">Exact time, UTC</label>
        <input
          id="${id}-exact"
          type="datetime-local"
          step="1"
          value=${picked === null ? "" : new Date(picked).toISOString().slice(0, 19)}
          onChange=${onExact}
        />
      </div>
      ${picked !== null &&
      html`<div class="box box-warning as-of-said">
        <p>
          <strong>Not now: as it was known at ${utc(picked, "seconds")} UTC</strong>, ${ago(picked, now)}
          ${isLoading ? " · reading …" : shown && ` · the version of ${utc(shown.updatedAt, "seconds")} UTC was the newest`}
          ${shown?.formingRows === "forgotten" && " · candles that were forming then are no longer kept"}
        </p>
        <${Button} onClick=${() => pick(null, true)}>Back to now<//>
      </div>`}
    </div>
  `;
}
