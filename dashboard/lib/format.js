// Values in words: numbers, rates, ages and times (UTC). What is unknown is a dash.

export const UNKNOWN = "–";
const NARROW = "\u202f"; // a thin space that does not break, between a number and its unit
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const formats = new Map();

function decimal(value, digits, least = digits) {
  const key = `${least}-${digits}`;
  if (!formats.has(key)) {
    formats.set(
      key,
      new Intl.NumberFormat("en-US", {
        minimumFractionDigits: least,
        maximumFractionDigits: digits,
      }),
    );
  }
  return formats.get(key).format(value).replace("-", "\u2212");
}

/** 12,345.6; `digits`: at most so many decimals. */
export function number(value, digits = 0) {
  return isNumber(value) ? decimal(value, digits, 0) : UNKNOWN;
}

/** 1.23 M: three significant digits and a unit. */
export function compact(value) {
  if (!isNumber(value)) return UNKNOWN;
  const size = Math.abs(value);
  for (const [unit, from] of [["T", 1e12], ["B", 1e9], ["M", 1e6], ["K", 1e3]]) {
    if (size >= from) return `${significant(value / from, 3)}${NARROW}${unit}`;
  }
  return significant(value, 3);
}

/** A price with as many decimals as its size needs: 97,123.4, 0.01234. */
export function price(value) {
  if (!isNumber(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size >= 10_000) return decimal(value, 1);
  if (size >= 1) return decimal(value, size >= 100 ? 2 : 4);
  return significant(value, 4);
}

/** A fraction as a percentage: 0.0123 is 1.23%. `signed` shows a plus, too. */
export function percent(value, digits = 2, signed = false) {
  if (!isNumber(value)) return UNKNOWN;
  return `${signed && value > 0 ? "+" : ""}${decimal(value * 100, digits)}%`;
}

/** A funding rate: 0.0001 is 0.0100%. */
export const rate = (value) => percent(value, 4);

/** A duration in seconds: 12 s, 3 min, 2 h 5 min, 3 d 4 h. */
export function age(seconds) {
  if (!isNumber(seconds)) return UNKNOWN;
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole}${NARROW}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}${NARROW}min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return joined(hours, "h", minutes % 60, "min");
  return joined(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** How long ago a time was (ms): "12 s ago"; of a time to come "in 12 s". */
export function ago(ms, nowMs) {
  if (!isNumber(ms)) return UNKNOWN;
  const seconds = (nowMs - ms) / 1000;
  return seconds < -1 ? `in ${age(-seconds)}` : `${age(seconds)} ago`;
}

/** A time in UTC (ms): 2026-12-01 05:20, or with seconds; "time" gives 05:20:31 alone. */
export function utc(ms, form = "minutes") {
  if (!isNumber(ms)) return UNKNOWN;
  const text = new Date(ms).toISOString();
  if (form === "time") return text.slice(11, 19);
  return text.slice(0, form === "seconds" ? 19 : 16).replace("T", " ");
}

/** A number of bytes: 1.2 MB (powers of ten). */
export function bytes(value) {
  if (!isNumber(value)) return UNKNOWN;
  for (const [unit, from] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["KB", 1e3]]) {
    if (value >= from) return `${significant(value / from, 3)}${NARROW}${unit}`;
  }
  return `${value}${NARROW}B`;
}

/** One or many: plural(3, "market") is "3 markets". */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** A text with its first letter large; what is plainly a name stays: ui_data, collect:4h, api-1. */
export function capital(text) {
  const [first] = text.split(/[\s,;]/, 1);
  const isName = /[_./:@0-9]./.test(first) || /\d$/.test(first);
  return isName ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

function significant(value, digits) {
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  const decimals = Math.min(12, Math.max(0, digits - 1 - size));
  return decimal(value, decimals, 0);
}

function joined(large, unit, small, smallUnit) {
  const first = `${large}${NARROW}${unit}`;
  return small === 0 ? first : `${first} ${small}${NARROW}${smallUnit}`;
}
