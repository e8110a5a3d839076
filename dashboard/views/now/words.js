// Words and times that the parts of the view share.

const UNITS_MS = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The length of a timeframe's candles (ms): 300000 of "5m"; null of what is none. */
export function lengthOf(name) {
  const [, count, unit] = /^(\d+)([mhd])$/.exec(name) ?? [];
  return count === undefined ? null : Number(count) * UNITS_MS[unit];
}

export const isKnown = (value) => value !== null && value !== undefined;
