// Corrections: what the record says of values that exchanges told anew, read from /api/historical
// with revisions=all. Open interest and funding have versions of their own beside the candles'.
import { get } from "../../lib/api.js";

const KINDS = [
  { path: "candles", time: "open_time", values: ["open", "high", "low", "close", "volume", "turnover"] },
  { path: "open-interest", time: "time", values: ["open_interest"] },
];

/**
 * The corrections of a market's rows that opened from `fromMs` to before `toMs`: `{revisions,
 * knownSince}`. `revisions` is a Map from the open time to `[{values, knownFrom, knownTo}]`, the earlier
 * versions, oldest first; `values` are by column; a version whose `knownTo` is `knownFrom` was never in
 * force: another source tells it. `knownSince` (ms): since when the first of all versions is known.
 */
export async function readRevisions({ exchange, symbol, timeframe, fromMs, toMs, signal }) {
  const answers = await Promise.all(
    KINDS.map(({ path }) => {
      const range = `timeframe=${timeframe}&from=${fromMs}&to=${toMs}&revisions=all`;
      const market = `${encodeURIComponent(exchange)}/${encodeURIComponent(symbol)}`;
      return get(`api/historical/${path}/${market}?${range}`, { signal });
    }),
  );
  return {
    revisions: mergedRevisions(answers.map(({ data }, at) => revisionsOf(data, KINDS[at]))),
    knownSince: knownSinceOf(answers[0].data),
  };
}

/** Since when the first version in an answer is known (ms); Infinity if it has none. */
export function knownSinceOf({ columns, markets }) {
  const at = columns.indexOf("known_from");
  return Math.min(...markets.flatMap(({ rows }) => rows.map((row) => row[at])), Infinity);
}

/** The superseded versions in an answer of one kind. */
export function revisionsOf(history, { time, values }) {
  const found = new Map();
  const at = (name) => history.columns.indexOf(name);
  for (const { rows } of history.markets) {
    for (const row of rows) {
      const knownTo = row[at("known_to")];
      if (knownTo === null) continue;
      const version = {
        values: Object.fromEntries(values.map((name) => [name, row[at(name)]])),
        knownFrom: row[at("known_from")],
        knownTo,
      };
      const opened = row[at(time)];
      found.set(opened, [...(found.get(opened) ?? []), version]);
    }
  }
  return found;
}

/**
 * What rows that are seen to be corrected said before, as the record will tell it: `rows` as they were,
 * `changed` as they are, by open time. A value that was not known before is no correction.
 */
export function revisionsSeen(rows, changed, knownTo) {
  const before = new Map(rows.map((row) => [row.open_time, row]));
  const found = new Map();
  for (const row of changed) {
    const was = before.get(row.open_time) ?? {};
    const names = KINDS.flatMap(({ values }) => values);
    const differing = names.filter((name) => was[name] != null && was[name] !== row[name]);
    if (differing.length === 0) continue;
    const values = Object.fromEntries(differing.map((name) => [name, was[name]]));
    found.set(row.open_time, [{ values, knownFrom: 0, knownTo }]);
  }
  return found;
}

/** `known` with what the record tells: it takes the place of what was seen of the same row. */
export function withRecorded(known, recorded) {
  const kept = [...(known ?? [])].filter(([time]) => !recorded.has(time));
  return new Map([...kept, ...recorded]);
}

/** One Map of several. */
export function mergedRevisions(several) {
  const merged = new Map();
  for (const revisions of several) {
    for (const [time, versions] of revisions) {
      const all = [...(merged.get(time) ?? []), ...versions];
      merged.set(time, all.sort((one, other) => one.knownFrom - other.knownFrom));
    }
  }
  return merged;
}

/** What earlier versions had in other values than the row has: `[{name, was, until}]`. */
export function differences(row, versions) {
  return versions.flatMap(({ values, knownTo }) =>
    Object.entries(values)
      .filter(([name, was]) => was !== row[name])
      .map(([name, was]) => ({ name, was, until: knownTo })),
  );
}
