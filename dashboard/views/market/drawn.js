// DrawnCandles: one exchange's candles, volume, open interest and funding on one time axis, drawn by
// lightweight-charts. It draws and tells what is pointed at; what the numbers mean is its caller's.
import {
  CandlestickSeries,
  createChart,
  createSeriesMarkers,
  createTextWatermark,
  HistogramSeries,
  LineSeries,
} from "lightweight-charts";
import { color } from "../../lib/theme.js";
import { compact, utc } from "../../lib/format.js";
import { exact, exactPercent } from "./numbers.js";

const FIRST_WIDTH = 6; // pixels of a candle, before the user zooms
const NEAR_BEGIN = 40; // candles left of what is seen at which older ones are asked for
const CLEAR = "rgba(0, 0, 0, 0)";

export class DrawnCandles {
  /** `onPoint(ms or null)`: a bar is pointed at; `onBegin()`: the first bars are nearly seen. */
  constructor(element, { onPoint, onBegin, onRange }) {
    this.element = element;
    this.data = null;
    this.isShowing = false;
    this.chart = createChart(element, {
      autoSize: true,
      layout: { attributionLogo: false, background: { color: "transparent" }, fontSize: 11 },
      localization: { locale: "en-GB", timeFormatter: (time) => `${utc(time * 1000)} UTC` },
      timeScale: { timeVisible: true, rightOffset: 3, minBarSpacing: 0.5 },
      crosshair: { mode: 0 },
      handleScroll: { mouseWheel: false, vertTouchDrag: false },
      handleScale: { mouseWheel: false },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, {
      priceLineVisible: false,
      lastValueVisible: false,
    });
    // A line of our own: the series' would have the colour of a hollow candle.
    this.lastPrice = this.candles.createPriceLine({ price: 0, lineWidth: 1, lineStyle: 1 });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.interest = this.chart.addSeries(
      LineSeries,
      {
        lineWidth: 2,
        priceLineVisible: false,
        priceFormat: { type: "custom", minMove: 1e-8, formatter: compact },
      },
      1,
    );
    this.funding = this.chart.addSeries(
      HistogramSeries,
      {
        base: 0,
        priceLineVisible: false,
        priceFormat: {
          type: "custom",
          minMove: 1e-8,
          formatter: (value) => exactPercent(Number(value.toFixed(8)), true),
        },
      },
      2,
    );
    for (const series of [this.interest, this.funding]) {
      series.priceScale().applyOptions({ scaleMargins: { top: 0.25, bottom: 0.08 } });
    }
    this.marks = createSeriesMarkers(this.candles, []);
    this.dots = createSeriesMarkers(this.interest, []);
    this.titles = [];
    this.chart.panes().forEach((pane, index) => {
      pane.setStretchFactor([5, 2, 1.5][index]);
      this.titles.push(createTextWatermark(pane, { horzAlign: "left", vertAlign: "top", lines: [] }));
    });
    this.chart.subscribeCrosshairMove((event) => {
      if (event.sourceEvent === undefined) return; // it was not the user
      onPoint(event.time === undefined ? null : event.time * 1000);
    });
    element.addEventListener("mouseleave", () => onPoint(null));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range === null) return;
      const count = Math.round(range.to - range.from);
      element.dataset.seen = `${count} bars up to ${Math.round(range.to)}`;
      if (this.isShowing) return;
      onRange(range);
      if (range.from < NEAR_BEGIN) onBegin();
    });
  }

  /** The page's colours, and the titles of the panes. */
  paint({ base, names }) {
    const [line, muted, card] = ["--line", "--muted", "--card"].map(color);
    const [up, down, accent] = ["--up", "--down", "--accent"].map(color);
    this.colors = { up, down, accent };
    this.chart.applyOptions({
      layout: {
        textColor: muted,
        panes: { separatorColor: line, separatorHoverColor: line },
      },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      timeScale: { borderColor: line },
      rightPriceScale: { borderColor: line },
    });
    // Rising candles are hollow: colour is not the only sign.
    this.candles.applyOptions({
      upColor: card,
      borderUpColor: up,
      wickUpColor: up,
      downColor: down,
      borderDownColor: down,
      wickDownColor: down,
    });
    this.volume.applyOptions({ color: faint(muted) });
    this.interest.applyOptions({ color: accent });
    names.forEach((text, index) => {
      const shown = text.replace("{base}", base);
      this.titles[index].applyOptions({ lines: [{ text: shown, color: muted, fontSize: 11 }] });
    });
  }

  /**
   * Draws rows on a grid of open times (ms), on which those that lack are gaps. `decimals`: of prices.
   * `marked`: open times of corrected rows. What the user looks at stays.
   */
  show({ rows, grid, decimals, marked }) {
    const data = seriesData(rows, grid, this.colors);
    const old = this.data;
    const seen = old === null ? null : this.seen();
    this.isShowing = true;
    this.candles.applyOptions({
      priceFormat: {
        type: "custom",
        minMove: 10 ** -decimals,
        formatter: (value) => exact(Number(value.toFixed(decimals)), decimals),
      },
    });
    for (const name of ["candles", "volume", "interest", "funding"]) {
      renew(this[name], old?.[name], data[name]);
    }
    this.dots.setMarkers(data.alone.map((time) => dot(time, this.colors.accent)));
    const times = new Set(grid);
    this.marks.setMarkers(
      marked.filter((ms) => times.has(ms)).map((ms) => mark(ms / 1000, this.colors.accent)),
    );
    this.data = { ...data, times: grid };
    const last = rows.at(-1);
    this.lastPrice.applyOptions({
      price: last?.close ?? 0,
      lineVisible: last !== undefined,
      axisLabelVisible: last !== undefined,
      color: last && last.close < last.open ? this.colors.down : this.colors.up,
    });
    this.isShowing = false;
    if (seen === null) this.showNewest();
    else if (old.times[0] !== grid[0]) this.stay(seen, old.times, grid);
  }

  /** Shows the same times on another grid; its end, if the end was seen, or if they are not on it. */
  stay(seen, old, grid) {
    const shift = (old[0] - grid[0]) / (grid[1] - grid[0]);
    const atEnd = seen.to >= old.length - 1;
    const by = atEnd ? grid.length - old.length : shift;
    const range = { from: seen.from + by, to: seen.to + by };
    if (Number.isFinite(by) && range.from < grid.length - 3 && range.to > 3) this.look(range);
    else this.showNewest();
  }

  showNewest() {
    const count = this.data.times.length;
    const room = Math.max(30, Math.round(this.element.clientWidth / FIRST_WIDTH));
    this.look({ from: count - Math.min(room, count + 2), to: count + 2 });
  }

  /** Moves to a range of bars by number. */
  look(range) {
    this.isShowing = true;
    this.chart.timeScale().setVisibleLogicalRange(range);
    this.isShowing = false;
  }

  seen() {
    return this.chart.timeScale().getVisibleLogicalRange();
  }

  /** Puts the crosshair on a bar (ms), null takes it away; moves there if `follow` wants that. */
  point(ms, follow = false) {
    const index = ms === null ? -1 : this.data.times.indexOf(ms);
    if (index < 0) {
      this.chart.clearCrosshairPosition();
      return;
    }
    const seen = this.seen();
    if (follow && seen !== null && (index < seen.from || index > seen.to)) {
      const length = seen.to - seen.from;
      const from = Math.max(-2, Math.min(index - length / 2, this.data.times.length + 2 - length));
      this.chart.timeScale().setVisibleLogicalRange({ from, to: from + length });
    }
    const bar = this.data.candles[index];
    this.chart.setCrosshairPosition(bar.close ?? 0, bar.time, this.candles);
  }

  /** Shows so many times as many bars, up to the same last one. */
  zoom(factor) {
    const seen = this.seen();
    if (seen === null) return;
    const length = Math.max(5, (seen.to - seen.from) * factor);
    this.chart.timeScale().setVisibleLogicalRange({ from: seen.to - length, to: seen.to });
  }

  remove() {
    this.chart.remove();
  }
}

/** The four series of a grid; `alone`: open interest between two gaps, which no line can show. */
export function seriesData(rows, grid, { up, down, accent }) {
  const by = new Map(rows.map((row) => [row.open_time, row]));
  const [candles, volume, interest, funding, alone] = [[], [], [], [], []];
  const known = (at) => isNumber(by.get(grid[at])?.open_interest);
  const lastKnown = rows.findLast((row) => isNumber(row.open_interest))?.open_time;
  grid.forEach((ms, at) => {
    const row = by.get(ms);
    const time = ms / 1000;
    if (row === undefined) {
      for (const series of [candles, volume, interest, funding]) series.push({ time });
      return;
    }
    candles.push({ time, open: row.open, high: row.high, low: row.low, close: row.close });
    volume.push({ time, value: row.volume });
    // The line from a point to the next has the colour of the first: none before a gap.
    if (!known(at)) interest.push({ time });
    else if (known(at + 1)) interest.push({ time, value: row.open_interest });
    else interest.push({ time, value: row.open_interest, color: ms === lastKnown ? accent : CLEAR });
    if (known(at) && !known(at - 1) && !known(at + 1)) alone.push(time);
    const rate = row.funding_rate;
    funding.push(isNumber(rate) ? { time, value: rate, color: rate < 0 ? down : up } : { time });
  });
  return { candles, volume, interest, funding, alone };
}

/** Gives a series its new data: by its last points where only these have changed. */
function renew(series, old, data) {
  const kept = old === undefined ? 0 : alike(old, data);
  if (old !== undefined && kept === data.length && old.length === data.length) return;
  if (old === undefined || kept < old.length - 2 || data.length < old.length) series.setData(data);
  else data.slice(kept).forEach((point, index) => series.update(point, kept + index < old.length - 1));
}

/** How many points at the beginning are the same. */
function alike(old, data) {
  const most = Math.min(old.length, data.length);
  for (let at = 0; at < most; at += 1) {
    const [one, other] = [old[at], data[at]];
    const isSame = ["time", "value", "color", "open", "high", "low", "close"].every(
      (name) => one[name] === other[name],
    );
    if (!isSame) return at;
  }
  return most;
}

const isNumber = (value) => typeof value === "number";
const faint = (rgb) => rgb.replace(/^rgb\((.*)\)$/, "rgba($1, 0.25)");
const mark = (time, shade) => ({ time, position: "aboveBar", shape: "circle", size: 0.6, color: shade, text: "R" });
const dot = (time, shade) => ({ time, position: "inBar", shape: "circle", size: 0.3, color: shade });
