// Numbers of providers and chains as texts, exact: prices as they were told, and amounts from whole
// numbers of the smallest unit, which are texts because they may not fit a double.
import { capital, compact, number, UNKNOWN } from "../../lib/format.js";

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

const LONGEST = 1e7; // counts up to here are shown whole

/**
 * A figure of statistics, {value: 1800000000, unit: "wei"}, short enough to be read: `{text, title}`,
 * the title with all digits.
 */
export function figure({ value, unit }) {
  const whole = exact(value);
  if (unit === "1") return { text: short1(value), title: whole };
  if (unit === "percent") return { text: `${number(value, 2)}%`, title: `${whole}%` };
  if (unit === "usd") return { text: `$${compact(value)}`, title: `$${whole}` };
  if (unit === "wei") return { text: `${compact(value / 1e9)} gwei`, title: `${whole} wei` };
  return { text: `${compact(value)} ${unit}`, title: `${whole} ${unit}` };
}

const short1 = (value) => (Number.isInteger(value) && value < LONGEST ? number(value) : compact(value));

const CHAINS = { bsc: "BSC", hyperevm: "HyperEVM" };

/** The name of a chain by its id: "bitcoin" is Bitcoin. */
export const chainName = (id) => CHAINS[id] ?? capital(id);

/** A long address or hash, its middle left out. */
export function short(text) {
  return text.length > 16 ? `${text.slice(0, 8)}…${text.slice(-6)}` : text;
}

/** The names in a text, by commas or spaces, each once. */
export function names(text) {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))];
}
