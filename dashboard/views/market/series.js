// The rows of one market as a series: taken from documents, history and events, joined, and laid on
// a grid on which a hole stays a hole. Pure functions; rows are objects by column, ascending.

export const PRICES = ["open", "high", "low", "close"];

/** Rows as objects, from the arrays of a document or a history. */
export function rowsOf(columns, rows) {
  return rows.map((values) => Object.fromEntries(columns.map((name, at) => [name, values[at]])));
}

/** What a document says beside its rows. */
export function headOf(document) {
  return {
    timeframe: document.timeframe,
    intervalMs: document.interval_ms,
    version: document.version,
    asOf: document.as_of,
    updatedAt: document.updated_at,
    lastClosed: document.last_closed_open_time,
    formingRows: document.forming_rows ?? "kept",
  };
}

/** What a document says of one market; `isThere` is false where it has none of that name. */
export function marketOf(document, exchange, symbol) {
  const market = document.markets.find(
    (found) => found.exchange === exchange && found.symbol === symbol,
  );
  const missing = document.missing.filter(
    (lack) => lack.exchange === exchange && (lack.symbol === symbol || lack.symbol === null),
  );
  if (market === undefined) return { isThere: false, rows: [], missing, staleSince: null };
  return {
    isThere: true,
    base: market.base,
    quote: market.quote,
    checkedAt: market.checked_at,
    staleSince: market.stale_since,
    rows: rowsOf(document.columns, market.rows),
    missing,
  };
}

/** `rows`, with all from `sinceMs` on replaced by `newer`: rows that are not in it have gone. */
export function joined(rows, newer, sinceMs) {
  return [...rows.filter((row) => row.open_time < sinceMs), ...newer];
}

/** `rows`, with those of `older` that opened before the first of them. */
export function prepended(rows, older) {
  const first = rows[0]?.open_time ?? Infinity;
  return [...older.filter((row) => row.open_time < first), ...rows];
}

/** `rows`, with those that a "candles" event names as corrected or removed. */
export function corrected(rows, changed, removed = []) {
  const by = new Map(changed.map((row) => [row.open_time, row]));
  const gone = new Set(removed);
  return rows
    .filter((row) => !gone.has(row.open_time))
    .map((row) => (by.has(row.open_time) ? { ...row, ...by.get(row.open_time) } : row));
}

/** The open times of a grid from the first to the last row of several series. */
export function gridOf(several, intervalMs) {
  const first = Math.min(...several.map((rows) => rows[0]?.open_time ?? Infinity));
  const last = Math.max(...several.map((rows) => rows.at(-1)?.open_time ?? -Infinity));
  if (!Number.isFinite(first) || !Number.isFinite(last)) return [];
  const times = [];
  for (let time = first; time <= last; time += intervalMs) times.push(time);
  return times;
}

/** How many instants between the first and the last row have no row. */
export function holesIn(rows, intervalMs) {
  if (rows.length === 0) return 0;
  return (rows.at(-1).open_time - rows[0].open_time) / intervalMs + 1 - rows.length;
}

/** The last row that had closed, and the one that is forming; each null where there is none. */
export function lastRows(rows, lastClosedMs) {
  const last = rows.at(-1) ?? null;
  if (last === null || last.open_time <= lastClosedMs) return { closed: last, forming: null };
  const before = rows.at(-2) ?? null;
  return { closed: before, forming: last };
}
