// One exchange's chart with what is read from it: by pointer or keyboard, and in words; several of
// them move together.
import { useEffect, useId, useRef } from "preact/hooks";
import { useTheme } from "../../lib/theme.js";
import { html } from "../../lib/html.js";
import { compact, percent, utc } from "../../lib/format.js";
import { DrawnCandles } from "./drawn.js";
import { change, exact, exactPercent } from "./numbers.js";
import { Value } from "./value.js";
import { differences } from "./revisions.js";
import { PRICES } from "./series.js";

const SAME = 1e-6; // bars; a range that was set comes back with rounded numbers
const TITLES = ["", "Open interest, {base}", "Funding rate in force"];

const isSame = (one, other) =>
  one !== null && Math.abs(one.from - other.from) < SAME && Math.abs(one.to - other.to) < SAME;

/** Charts that show the same bars and the same crosshair. */
export class ChartGroup {
  constructor() {
    this.charts = new Set();
  }

  /** A chart was moved to these bars: the others follow. */
  moved(by, range) {
    for (const chart of this.charts) {
      if (chart !== by && chart.data !== null && !isSame(chart.seen(), range)) chart.look(range);
    }
  }

  pointed(by, ms, follow = false) {
    for (const chart of this.charts) {
      if (chart.data !== null && (follow || chart !== by)) chart.point(ms, follow && chart === by);
    }
  }
}

/**
 * `market`: as the feed has it; `grid`: the open times of all charts; `at`: the bar that is read (ms),
 * null for the last one; `lastClosed`: of the document; `revisions`: by open time.
 */
export function ExchangeChart({ name, market, grid, decimals, revisions, lastClosed, asOf, at, group, onPoint, onBegin }) {
  const box = useRef(null);
  const drawn = useRef(null);
  const theme = useTheme();
  const id = useId();
  const calls = useRef({});
  calls.current = { onPoint, onBegin };

  useEffect(() => {
    const chart = new DrawnCandles(box.current, {
      onPoint: (ms) => {
        calls.current.onPoint(ms);
        group.pointed(chart, ms);
      },
      onBegin: () => calls.current.onBegin(),
      onRange: (range) => group.moved(chart, range),
    });
    drawn.current = chart;
    group.charts.add(chart);
    return () => {
      group.charts.delete(chart);
      chart.remove();
    };
  }, []);
  useEffect(() => drawn.current.paint({ base: market.base, names: TITLES }), [theme, market.base]);
  useEffect(() => {
    const marked = [...(revisions?.keys() ?? [])];
    drawn.current.show({ rows: market.rows, grid, decimals, marked });
    if (at !== null) drawn.current.point(at); // new bars have moved it
  }, [market.rows, grid, decimals, revisions, theme]);

  const times = market.rows.map((row) => row.open_time);
  const place = times.indexOf(at);
  const row = market.rows.at(place);
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const from = place < 0 ? times.length - 1 : place;
    const next = {
      ArrowLeft: from - 1,
      ArrowRight: from + 1,
      PageUp: from - 10,
      PageDown: from + 10,
      Home: 0,
      End: times.length - 1,
    }[event.key];
    if (event.key === "+" || event.key === "-") drawn.current.zoom(event.key === "+" ? 0.8 : 1.25);
    else if (next === undefined) return;
    else {
      const ms = times[Math.max(0, Math.min(times.length - 1, next))];
      onPoint(ms);
      group.pointed(drawn.current, ms, true);
      if (next < 40) onBegin();
    }
    event.preventDefault();
  };
  const onLeave = () => {
    onPoint(null);
    group.pointed(null, null);
  };
  return html`
    <figure class="candles" aria-labelledby="${id}-label">
      <figcaption id="${id}-label" class="unseen">${name}: candles, open interest and funding</figcaption>
      <${Readout} row=${at !== null && place < 0 ? { open_time: at } : row} ...${{ market, decimals, revisions, lastClosed, asOf }} />
      <div
        class="chart-box"
        role="slider"
        tabindex="0"
        aria-label="${name}, candle by candle: arrow keys move, plus and minus zoom"
        aria-valuemin="0"
        aria-valuemax=${Math.max(0, times.length - 1)}
        aria-valuenow=${place < 0 ? Math.max(0, times.length - 1) : place}
        aria-valuetext=${row === undefined ? "no candles" : spoken(row, market, decimals)}
        onKeyDown=${onKeyDown}
        onBlur=${onLeave}
      >
        <div class="candles-drawn" ref=${box} aria-hidden="true"></div>
      </div>
    </figure>
  `;
}

/** The numbers of the bar that is read, on one line over the chart. */
function Readout({ row, market, decimals, revisions, lastClosed, asOf }) {
  if (row === undefined) return html`<p class="readout muted">No candles.</p>`;
  const when = html`<span class="readout-time">${utc(row.open_time)} UTC</span>`;
  if (row.open === undefined) {
    return html`<p class="readout">${when} <span class="muted">no candle: a hole at the exchange</span></p>`;
  }
  const versions = revisions?.get(row.open_time) ?? [];
  const changed = change(row.open, row.close);
  return html`
    <p class="readout">
      ${when}
      ${["open", "high", "low", "close"].map(
        (part) => html`<span key=${part}>${part[0].toUpperCase()} <b><${Value} value=${row[part]} decimals=${decimals} /></b></span>`,
      )}
      <span class=${changed < 0 ? "down" : "up"}>${percent(changed, 2, true)}</span>
      <span>Vol <b title=${exact(row.volume)}>${compact(row.volume)}</b></span>
      <span>OI <b title=${exact(row.open_interest)}>${compact(row.open_interest)}</b></span>
      <span>Funding <b>${exactPercent(row.funding_rate)}</b></span>
      ${row.open_time > lastClosed && html`<span class="tag">forming</span>`}
      ${versions.length > 0 && html`<span class="tag tag-accent">R ${inWords(row, versions, decimals, asOf)}</span>`}
    </p>
  `;
}

/**
 * "corrected 2026-12-01 08:15: high was 76.8": what earlier versions of a row had. Of a row as it was
 * known `asOf` (ms, null for now) also that it was corrected later.
 */
export function inWords(row, versions, decimals, asOf) {
  const inForce = versions.filter(({ knownFrom, knownTo }) => knownFrom !== knownTo);
  if (inForce.length === 0) return "another source tells other values";
  const earlier = inForce.filter(({ knownTo }) => asOf === null || knownTo <= asOf);
  const said = [];
  if (earlier.length > 0) {
    const was = differences(row, earlier).map(
      ({ name, was: value }) =>
        `${name.replace("_", " ")} was ${exact(value, PRICES.includes(name) ? decimals : 0)}`,
    );
    said.push(`corrected ${utc(earlier.at(-1).knownTo)}${was.length > 0 ? `: ${was.join(", ")}` : ""}`);
  }
  if (earlier.length < inForce.length) said.push(`corrected later, ${utc(inForce.at(-1).knownTo)}`);
  return said.join("; ");
}

function spoken(row, { base }, decimals) {
  const oi = row.open_interest === null ? "unknown" : `${exact(row.open_interest)} ${base}`;
  const rate = row.funding_rate === null ? "unknown" : exactPercent(row.funding_rate);
  return (
    `${utc(row.open_time)} UTC: open ${exact(row.open, decimals)}, high ${exact(row.high, decimals)}, ` +
    `low ${exact(row.low, decimals)}, close ${exact(row.close, decimals)}, ` +
    `volume ${exact(row.volume)} ${base}, open interest ${oi}, funding ${rate}`
  );
}
