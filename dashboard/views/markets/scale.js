// The colour scale of the heat map: seven classes of a value, from much below zero to much above it.
import { number, percent } from "../../lib/format.js";

/** What the heat map can show. `limits`: from which size on a value is of the next class. */
export const MEASURES = [
  { key: "rate8h", title: "Funding per 8 h", limits: [0.00005, 0.0002, 0.0005], digits: 4, low: "shorts pay", high: "longs pay" },
  { key: "change1h", title: "Open interest, 1 h", limits: [0.005, 0.02, 0.05], digits: 2, low: "falls", high: "rises" },
  { key: "change4h", title: "Open interest, 4 h", limits: [0.01, 0.04, 0.1], digits: 2, low: "falls", high: "rises" },
  { key: "change24h", title: "Open interest, 24 h", limits: [0.02, 0.08, 0.2], digits: 2, low: "falls", high: "rises" },
];

/** The class of a value: -3 to 3, null where it is not known. */
export function classOf(value, limits) {
  if (value === null || value === undefined) return null;
  const size = limits.filter((limit) => Math.abs(value) >= limit).length;
  return value < 0 ? -size : size;
}

/** The name of a class in style sheets: heat-m3 to heat-p3, heat-none. */
export function classNameOf(step) {
  if (step === null) return "heat-none";
  return step === 0 ? "heat-0" : `heat-${step < 0 ? "m" : "p"}${Math.abs(step)}`;
}

/** The classes in words, from the lowest: [{step, text}]. */
export function legendOf({ limits }) {
  const worded = (value) => `${number(value * 100, 3)}%`;
  const [small, middle, large] = limits.map(worded);
  return [
    { step: -3, text: `\u2264 \u2212${large}` },
    { step: -2, text: `\u2212${large} to \u2212${middle}` },
    { step: -1, text: `\u2212${middle} to \u2212${small}` },
    { step: 0, text: `\u00b1${small}` },
    { step: 1, text: `${small} to ${middle}` },
    { step: 2, text: `${middle} to ${large}` },
    { step: 3, text: `\u2265 ${large}` },
  ];
}

/** A value with its sign. */
export const signed = (value, digits) => (value === null ? "–" : percent(value, digits, true));
