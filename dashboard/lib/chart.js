// PaneChart: panes of one time axis, drawn by lightweight-charts, for keyboard and screen reader too:
// a text that describes it, values read out bar by bar, and the same numbers as a table.
import {
  AreaSeries,
  BarSeries,
  BaselineSeries,
  CandlestickSeries,
  createChart,
  createSeriesMarkers,
  HistogramSeries,
  LineSeries,
} from "lightweight-charts";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { number, utc } from "./format.js";
import { html } from "./html.js";
import { color, useTheme } from "./theme.js";
import { Table } from "./ui.js";

const KINDS = {
  candles: CandlestickSeries,
  line: LineSeries,
  area: AreaSeries,
  histogram: HistogramSeries,
  baseline: BaselineSeries,
  bars: BarSeries,
};
const FALLBACK_COLORS = ["--accent", "--warning", "--good", "--critical"];

/**
 * `label` names the chart, `describe` says in a sentence what it shows now. `panes`, from the top:
 * {title, height?, format?(value), series: [{name, kind, data, color?, lines?, markers?}]}, where
 * - `kind` is candles, line, area, histogram, baseline or bars; `height` is the pane's share (1);
 * - `data` is [{time, value, color?}], or [{time, open, high, low, close}], by time (ms), ascending;
 *   a value of null is a gap; another array is another drawing, so keep it while it is the same;
 * - `color` is a name of style.css ("--accent"), in data, too;
 * - `markers` are [{time, text, color?, position?, shape?}].
 * `range`: {from, to} (ms) to be shown; it is moved there whenever it changes. `onRange(from, to)`
 * tells what the user looks at. `table`: {columns, rows} in place of the twin made of the data.
 */
export function PaneChart({ label, describe, panes, range, onRange, table, size = "" }) {
  const box = useRef(null);
  const drawn = useRef(null);
  const [at, setAt] = useState(null); // the bar that is read, by keyboard or pointer (ms)
  const theme = useTheme();
  const id = useId();

  useEffect(() => {
    drawn.current = new Drawn(box.current, setAt);
    return () => {
      drawn.current.remove();
      drawn.current = null;
    };
  }, []);
  useEffect(() => drawn.current.paint(), [theme]);
  useEffect(() => drawn.current.draw(panes), [panes, theme]);
  useEffect(() => {
    if (range) drawn.current.show(range.from, range.to);
  }, [range?.from, range?.to]);
  useEffect(() => {
    drawn.current.onRange = onRange;
  });

  const times = timesOf(panes);
  const read = at !== null && times.includes(at) ? at : (times.at(-1) ?? null);
  const onKeyDown = (event) => {
    const place = times.indexOf(read);
    const next = {
      ArrowLeft: place - 1,
      ArrowRight: place + 1,
      PageUp: place - 10,
      PageDown: place + 10,
      Home: 0,
      End: times.length - 1,
    }[event.key];
    if (event.key === "+" || event.key === "-") drawn.current.zoom(event.key === "+" ? 0.8 : 1.25);
    else if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    else {
      const time = times[Math.max(0, Math.min(times.length - 1, next))];
      setAt(time);
      drawn.current.point(time);
    }
    event.preventDefault();
  };
  const values = valuesAt(panes, read);
  return html`
    <figure class="chart-figure" aria-labelledby="${id}-label">
      <figcaption id="${id}-label" class="unseen">${label}</figcaption>
      <p class="note" id="${id}-text">${describe}</p>
      <p class="chart-legend" aria-hidden="true">
        ${read !== null && html`<span>${utc(read)} UTC</span>`}
        ${values.map(({ name, text }) => html`<span key=${name}>${name} <b>${text}</b></span>`)}
      </p>
      <div
        class="chart-box"
        role="slider"
        tabindex="0"
        aria-label="${label}: arrow keys read it bar by bar, plus and minus zoom"
        aria-describedby="${id}-text"
        aria-valuemin="0"
        aria-valuemax=${Math.max(0, times.length - 1)}
        aria-valuenow=${Math.max(0, times.indexOf(read))}
        aria-valuetext=${read === null
          ? "no values"
          : `${utc(read)} UTC: ${values.map(({ name, text }) => `${name} ${text}`).join(", ")}`}
        onKeyDown=${onKeyDown}
      >
        <div class="chart ${size}" ref=${box} aria-hidden="true"></div>
      </div>
      <${Twin} label=${label} panes=${panes} times=${times} table=${table} />
    </figure>
  `;
}

/** The chart's numbers as a table, made when it is opened. */
function Twin({ label, panes, times, table }) {
  const [open, setOpen] = useState(false);
  const made = open ? (table ?? twinOf(panes, times)) : null;
  return html`
    <details class="twin" onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>The same as a table</summary>
      ${made &&
      html`<${Table}
        caption="${label}, newest first"
        columns=${made.columns}
        rows=${made.rows}
        rowKey=${(row) => row.time}
      />`}
    </details>
  `;
}

/** The chart itself: lightweight-charts, and which of our series is which of its. */
class Drawn {
  constructor(element, onPoint) {
    this.onRange = null;
    this.series = [];
    this.chart = createChart(element, {
      autoSize: true,
      layout: { attributionLogo: false, background: { color: "transparent" }, fontSize: 11 },
      localization: { locale: "en-GB", timeFormatter: (time) => `${utc(time * 1000)} UTC` },
      timeScale: { timeVisible: true, rightOffset: 4, minBarSpacing: 0.5 },
      crosshair: { mode: 0 },
      // The page scrolls with the wheel; the chart zooms with the pinch, the axis and the keys.
      handleScroll: { mouseWheel: false, vertTouchDrag: false },
      handleScale: { mouseWheel: false },
    });
    this.chart.subscribeCrosshairMove((event) => {
      if (event.point !== undefined && event.time !== undefined) onPoint(event.time * 1000);
    });
    this.chart.timeScale().subscribeVisibleTimeRangeChange((range) => {
      if (range) this.onRange?.(range.from * 1000, range.to * 1000);
    });
    this.paint();
  }

  paint() {
    const line = color("--line");
    this.chart.applyOptions({
      layout: { textColor: color("--muted"), panes: { separatorColor: line, separatorHoverColor: line } },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      timeScale: { borderColor: line },
      rightPriceScale: { borderColor: line },
    });
  }

  /** Draws the panes; what the user looks at stays. */
  draw(panes) {
    const shape = JSON.stringify(panes.map(({ series }) => series.map(({ name, kind }) => [name, kind])));
    const isNew = shape !== this.shape;
    if (isNew) {
      for (const { series } of this.series) this.chart.removeSeries(series);
      while (this.chart.panes().length > 1) this.chart.removePane(this.chart.panes().length - 1);
      this.series = panes.flatMap((pane, index) =>
        pane.series.map((each) => {
          const series = this.chart.addSeries(KINDS[each.kind], {}, index);
          return { series, markers: createSeriesMarkers(series, []), data: null };
        }),
      );
      this.shape = shape;
    }
    const all = panes.flatMap((pane, index) => pane.series.map((each, place) => [pane, each, index + place]));
    all.forEach(([pane, each, place], index) => {
      const held = this.series[index];
      held.series.applyOptions(this.options(pane, each, place));
      held.series.setData(each.data.map((point) => this.point_of(point)));
      held.markers.setMarkers((each.markers ?? []).map((marker) => this.marker_of(marker)));
    });
    if (isNew) {
      this.chart.panes().forEach((pane, index) => pane.setStretchFactor(panes[index]?.height ?? 1));
      this.chart.timeScale().fitContent();
    }
  }

  options(pane, each, place) {
    const own = color(each.color ?? FALLBACK_COLORS[place % FALLBACK_COLORS.length]);
    const [up, down] = [color("--up"), color("--down")];
    const format = pane.format ?? ((value) => number(value, 2));
    const shared = {
      title: "",
      priceFormat: { type: "custom", minMove: each.step ?? 1e-12, formatter: format },
      priceLineVisible: false,
      lastValueVisible: each.last ?? true,
    };
    if (each.kind === "candles" || each.kind === "bars") {
      return { ...shared, upColor: up, downColor: down, borderVisible: false, wickUpColor: up, wickDownColor: down };
    }
    if (each.kind === "baseline") {
      return { ...shared, baseValue: { type: "price", price: 0 }, lineWidth: 1, topLineColor: up, bottomLineColor: down, topFillColor1: faint(up), topFillColor2: faint(up), bottomFillColor1: faint(down), bottomFillColor2: faint(down) };
    }
    return { ...shared, color: own, lineColor: own, topColor: faint(own), bottomColor: "transparent", lineWidth: 2, ...each.lines };
  }

  point_of({ time, ...values }) {
    const at = { time: time / 1000 };
    if (values.value === null || values.close === null) return at; // a gap
    return { ...at, ...values, ...(values.color && { color: color(values.color) }) };
  }

  marker_of({ time, text, color: name = "--accent", position = "aboveBar", shape = "circle" }) {
    return { time: time / 1000, text, position, shape, color: color(name) };
  }

  show(from, to) {
    this.chart.timeScale().setVisibleRange({ from: from / 1000, to: to / 1000 });
  }

  /** Puts the crosshair on a bar, and moves there if it is out of sight. */
  point(ms) {
    const time = ms / 1000;
    const first = this.series.find(({ series }) => series.data().length > 0);
    if (first === undefined) return;
    const scale = this.chart.timeScale();
    const index = scale.timeToIndex(time, true);
    const seen = scale.getVisibleLogicalRange();
    if (index !== null && seen && (index < seen.from || index > seen.to)) {
      const half = (seen.to - seen.from) / 2;
      scale.setVisibleLogicalRange({ from: index - half, to: index + half });
    }
    const bar = first.series.data().find((each) => each.time === time);
    const level = bar?.close ?? bar?.value;
    if (level !== undefined) this.chart.setCrosshairPosition(level, time, first.series);
  }

  zoom(factor) {
    const scale = this.chart.timeScale();
    const seen = scale.getVisibleLogicalRange();
    if (seen === null) return;
    const length = (seen.to - seen.from) * factor;
    scale.setVisibleLogicalRange({ from: seen.to - length, to: seen.to });
  }

  remove() {
    this.chart.remove();
  }
}

/** A colour at a fifth of its strength, for areas. */
const faint = (rgb) => rgb.replace(/^rgb\((.*)\)$/, "rgba($1, 0.2)");

function timesOf(panes) {
  const times = new Set(panes.flatMap(({ series }) => series.flatMap(({ data }) => data.map(({ time }) => time))));
  return [...times].sort((a, b) => a - b);
}

function valuesAt(panes, time) {
  if (time === null) return [];
  return panes.flatMap(({ series, format = (value) => number(value, 2) }) =>
    series.flatMap(({ name, kind, data }) => {
      const point = data.find((each) => each.time === time);
      if (point === undefined) return [];
      if (kind !== "candles" && kind !== "bars") return [{ name, text: format(point.value) }];
      return ["open", "high", "low", "close"].map((part) => ({
        name: `${name} ${part}`,
        text: format(point[part]),
      }));
    }),
  );
}

function twinOf(panes, times) {
  const rows = times.map((time) => ({
    time,
    ...Object.fromEntries(valuesAt(panes, time).map(({ name, text }) => [name, text])),
  }));
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => name !== "time");
  return {
    columns: [
      { key: "time", title: "Time (UTC)", render: ({ time }) => utc(time) },
      ...names.map((name) => ({ key: name, title: name, align: "right", render: (row) => row[name] ?? "–" })),
    ],
    rows: rows.reverse(),
  };
}
