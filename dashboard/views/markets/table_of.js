// The rows of the whole market, made of two slices of documents: of every market its last hours, and its
// last funding settlement. Pure functions.

const HOUR_MS = 3_600_000;

/** The documents that may tell of the last day, the best first, and how many rows of each that takes. */
export const SOURCES = [
  { timeframe: "1h", limit: 26 },
  { timeframe: "30m", limit: 50 },
  { timeframe: "2h", limit: 14 },
  { timeframe: "4h", limit: 8 },
  { timeframe: "15m", limit: 98 },
];

/** How long ago changes of open interest are told. */
export const SPANS = [1, 4, 24];

/** The source among the documents that are there (names of GET /status), or null. */
export function sourceOf(documents) {
  return SOURCES.find(({ timeframe }) => documents[timeframe]) ?? null;
}

/**
 * One row a market, without those that have no candle. `hours`: a document of a timeframe; `funding`:
 * global_fr, or null. Changes are fractions, null where one of the two values is not known; of them
 * the later one is of the newest instant whose open interest is known, at most one candle back.
 */
export function tableOf(hours, funding) {
  const at = Object.fromEntries(hours.columns.map((name, place) => [name, place]));
  const rates = ratesOf(funding);
  return hours.markets
    .filter(({ rows }) => rows.length > 0)
    .map(({ exchange, symbol, base, rows, stale_since: staleSince }) => {
      const last = rows.at(-1);
      const interest = new Map(rows.map((row) => [row[at.open_time], row[at.open_interest]]));
      const newest = rows.slice(-2).findLast((row) => row[at.open_interest] !== null);
      const newestMs = newest?.[at.open_time] ?? null;
      const now = newest?.[at.open_interest] ?? null;
      const price = last[at.close];
      const day = rows.filter((row) => row[at.open_time] > last[at.open_time] - 24 * HOUR_MS);
      const before = rows.find((row) => row[at.open_time] === last[at.open_time] - 24 * HOUR_MS);
      return {
        key: `${exchange} ${symbol}`,
        ...{ exchange, symbol, base, price, staleSince },
        priceChange: fraction(before?.[at.close], price),
        turnover: before === undefined ? null : day.reduce((sum, row) => sum + row[at.turnover], 0),
        interest: now,
        interestAt: newestMs,
        interestValue: now === null ? null : now * price,
        ...Object.fromEntries(
          SPANS.map((span) => {
            const from = newestMs === null ? null : interest.get(newestMs - span * HOUR_MS);
            return [`change${span}h`, fraction(from, now)];
          }),
        ),
        ...(rates.get(`${exchange} ${symbol}`) ?? NO_RATE),
      };
    });
}

const NO_RATE = { rate: null, rate8h: null, intervalHours: null, settledAt: null, isLate: false };

/** The last settlement of each market; `isLate`: another one has been due since, and is not known. */
function ratesOf(funding) {
  const found = new Map();
  if (funding === null) return found;
  const [time, rate] = ["funding_time", "funding_rate"].map((name) => funding.columns.indexOf(name));
  for (const { exchange, symbol, interval_hours: hours, rows } of funding.markets) {
    const last = rows.at(-1);
    if (last === undefined) continue;
    found.set(`${exchange} ${symbol}`, {
      rate: last[rate],
      rate8h: hours > 0 ? (last[rate] * 8) / hours : null,
      intervalHours: hours,
      settledAt: last[time],
      isLate: hours > 0 && last[time] + hours * HOUR_MS < funding.as_of,
    });
  }
  return found;
}

/** The rows that are shown: of one exchange, or null for all, and whose name has the text. */
export function filtered(rows, { exchange, text }) {
  const wanted = text.trim().toUpperCase();
  return rows.filter(
    (row) => (!exchange || row.exchange === exchange) && (!wanted || row.symbol.includes(wanted)),
  );
}

/** Rows by a column; those of which it is not known come last, whichever way. */
export function sorted(rows, key, isDown) {
  const sign = isDown ? -1 : 1;
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  return [...rows].sort((one, two) => {
    const [a, b] = [one[key], two[key]];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return sign * compare(a, b) || one.key.localeCompare(two.key);
  });
}

function fraction(from, to) {
  if (from === null || from === undefined || to === null || to === undefined) return null;
  return from > 0 ? to / from - 1 : null;
}
