// Numbers of providers and chains as texts, exact: prices as they were told, and amounts from whole
// numbers of the smallest unit, which are texts because they may not fit a double.
import { UNKNOWN } from "../../lib/format.js";

const exactly = new Intl.NumberFormat("en-US", { maximumFractionDigits: 20 });

/** All digits of a number, with commas: 2,927.0145. */
export function exact(value) {
  return Number.isFinite(value) ? exactly.format(value).replace("-", "\u2212") : UNKNOWN;
}

/** A whole number of the smallest unit in units of 10^decimals, exact: units("1776000000", 9) is 1.776. */
export function units(raw, decimals) {
  if (raw === null || raw === undefined) return UNKNOWN;
  const value = BigInt(raw);
  const digits = (value < 0n ? -value : value).toString().padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals).replace(/\B(?=(\d{3})+$)/g, ",");
  const part = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return `${value < 0n ? "\u2212" : ""}${whole}${decimals > 0 && part !== "" ? `.${part}` : ""}`;
}

/** A figure with its unit in words: {value: 1800000000, unit: "wei"}. */
export function figure({ value, unit }) {
  const text = exact(value);
  if (unit === "1") return text;
  if (unit === "percent") return `${text}%`;
  if (unit === "usd") return `$${text}`;
  return `${text} ${unit}`;
}

/** A long address or hash, its middle left out. */
export function short(text) {
  return text.length > 16 ? `${text.slice(0, 8)}…${text.slice(-6)}` : text;
}

/** The names in a text, by commas or spaces, each once. */
export function names(text) {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}
