// The feed of the view Market: one market's document, kept up by events, with older rows from the
// record, or as it was at a time. A MarketFeed holds the state; useMarket renders a component anew.
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../lib/api.js";
import { useEvents } from "../../lib/events.js";
import { serviceNow } from "../../lib/status.js";
import { corrected, headOf, joined, marketOf, prepended, rowsOf } from "./series.js";
import { mergedRevisions, readRevisions, revisionsSeen, withRecorded } from "./revisions.js";

const OLDER_ROWS = 500; // asked for at once when the chart is scrolled to its beginning
const MOST_ROWS = 20_000; // of one exchange: more than that only makes a browser slow
const NOT_YET_TRIES = 5;
const NOT_YET_MS = 1_500;
const RECORDED_MS = [2_500, 5_000, 15_000]; // when the record is asked for what was corrected
const AGAIN_MS = 5_000; // after an answer that did not come
const LOOK_MS = 60_000; // beside events, which may be cut off on their way

/**
 * What is shown before anything was read. By exchange: `markets`, as marketOf tells them, and
 * `revisions`, as readRevisions does, or null where the record cannot be read.
 */
const NOTHING = {
  asOf: null, // the time that the rows are of (ms), null for now
  head: null,
  markets: {},
  revisions: {},
  knownSince: null, // since when the first of these rows is known (ms)
  readAt: null,
  error: null,
  isLoading: true,
  isOlderLoading: false,
  olderError: null,
  isAllThere: false,
};

/** Whether an error may be over in a while: nobody answered, or a store is away. */
export const isPassing = ({ status }) => status === 0 || status >= 500;

class MarketFeed {
  constructor({ symbol, timeframe, asOf, exchanges }, onState) {
    this.path = `cache/${encodeURIComponent(timeframe)}?symbol=${encodeURIComponent(symbol)}`;
    this.symbol = symbol;
    this.timeframe = timeframe;
    this.asOf = asOf;
    this.exchanges = exchanges;
    this.stopping = new AbortController();
    this.state = NOTHING;
    this.onState = onState;
    this.refreshing = null;
    this.isWanted = false;
  }

  change(changes) {
    if (this.stopping.signal.aborted) return;
    this.state = { ...this.state, ...changes };
    this.onState(this.state);
  }

  stop() {
    clearTimeout(this.again);
    this.stopping.abort();
  }

  /** Tells an error; where nobody answered, it is tried again by itself. */
  fail(error) {
    this.change({ error, isLoading: false });
    clearTimeout(this.again);
    if (isPassing(error)) this.again = setTimeout(() => (this.asOf === null ? this.refresh() : this.load()), AGAIN_MS);
  }

  /** Reads the whole document of this market; rows that came from the record are dropped. */
  async load() {
    this.change({ isLoading: true });
    const { signal } = this.stopping;
    try {
      const asOf = this.asOf === null ? "" : `&as_of=${this.asOf}`;
      const data = await this.readWhole(this.path + asOf);
      const markets = Object.fromEntries(
        this.exchanges.map((exchange) => [exchange, marketOf(data, exchange, this.symbol)]),
      );
      this.begins = this.olderFrom = undefined;
      this.change({
        asOf: this.asOf,
        head: headOf(data),
        markets,
        revisions: {},
        readAt: serviceNow(),
        error: null,
        isLoading: false,
        isAllThere: false,
        olderError: null,
      });
    } catch (error) {
      if (!signal.aborted) this.fail(error);
      return;
    }
    await this.mark();
  }

  /** A document. One of a time may be recorded only a second or two after it was published. */
  async readWhole(path) {
    const { signal } = this.stopping;
    for (let tries = 1; ; tries += 1) {
      try {
        return (await get(path, { signal })).data;
      } catch (error) {
        if (this.asOf === null || error.status !== 503 || tries === NOT_YET_TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, NOT_YET_MS));
        signal.throwIfAborted();
      }
    }
  }

  /** Reads what a publish has brought: the rows that closed since the last one, and the forming. */
  refresh() {
    this.isWanted = true;
    this.refreshing ??= this.readNewest().finally(() => {
      this.refreshing = null;
    });
    return this.refreshing;
  }

  async readNewest() {
    while (this.isWanted && !this.stopping.signal.aborted) {
      this.isWanted = false;
      if (this.state.head === null) {
        await this.load();
        continue;
      }
      const sinceMs = this.state.head.lastClosed;
      try {
        const { data } = await get(`${this.path}&since=${sinceMs}`, { signal: this.stopping.signal });
        this.take(data, sinceMs);
      } catch (error) {
        if (!this.stopping.signal.aborted) this.fail(error);
      }
    }
  }

  take(document, sinceMs) {
    if (document.version < this.state.head.version) return;
    const markets = {};
    for (const exchange of this.exchanges) {
      const newer = marketOf(document, exchange, this.symbol);
      const rows = this.state.markets[exchange]?.rows ?? [];
      markets[exchange] = newer.isThere
        ? { ...newer, rows: joined(rows, newer.rows, sinceMs) }
        : newer;
    }
    this.change({ head: headOf(document), markets, readAt: serviceNow(), error: null });
  }

  /** Takes an event of GET /events. */
  onEvent({ type, data }) {
    if (type === "reset") this.load();
    else if (type === "document" && data.name === this.timeframe) this.refresh();
    else if (type === "candles" && data.timeframe === this.timeframe) this.correct(data);
  }

  /** Shows corrected rows, marked by what they said before, at once; the record tells more later. */
  correct({ columns, markets, as_of: knownTo }) {
    const times = [];
    const now = { ...this.state.markets };
    const revisions = { ...this.state.revisions };
    for (const { exchange, symbol, corrected: changed = [], removed = [] } of markets) {
      const market = now[exchange];
      if (symbol !== this.symbol || !market?.isThere) continue;
      const rows = rowsOf(columns, changed);
      times.push(...rows.map((row) => row.open_time), ...removed);
      const before = revisionsSeen(market.rows, rows, knownTo);
      revisions[exchange] = mergedRevisions([revisions[exchange] ?? new Map(), before]);
      now[exchange] = { ...market, rows: corrected(market.rows, rows, removed) };
    }
    if (times.length === 0) return;
    this.change({ markets: now, revisions });
    const [fromMs, toMs] = [Math.min(...times), Math.max(...times) + 1];
    // The record has it a second or two after the publish, or later where it is behind.
    for (const ms of RECORDED_MS) setTimeout(() => this.mark(fromMs, toMs), ms);
  }

  /** Reads the corrections of the rows from `fromMs` to `toMs`; of all rows without them. */
  async mark(fromMs = this.firstMs(), toMs = this.state.head.lastClosed + 1) {
    if (!Number.isFinite(fromMs)) return;
    const { signal } = this.stopping;
    const { symbol, timeframe } = this;
    const there = this.exchanges.filter((exchange) => this.state.markets[exchange]?.isThere);
    const found = await Promise.all(
      there.map(async (exchange) => {
        try {
          const asked = { exchange, symbol, timeframe, fromMs, toMs, signal };
          return [exchange, await readRevisions(asked)];
        } catch {
          return [exchange, null]; // no record, or no database now: the view says so
        }
      }),
    );
    const revisions = { ...this.state.revisions };
    let { knownSince } = this.state;
    for (const [exchange, each] of found) {
      revisions[exchange] = each && withRecorded(revisions[exchange], each.revisions);
      if (each !== null) knownSince = Math.min(knownSince ?? Infinity, each.knownSince);
    }
    this.change({ revisions, knownSince });
  }

  firstMs() {
    return Math.min(
      ...Object.values(this.state.markets).map(({ rows }) => rows[0]?.open_time ?? Infinity),
    );
  }

  /** Reads rows before the first one from the record, if there are any. */
  async loadOlder() {
    const { state } = this;
    if (state.isOlderLoading || state.isAllThere || state.isLoading || state.head === null) return;
    this.change({ isOlderLoading: true });
    const { signal } = this.stopping;
    try {
      this.begins ??= await this.readBegins();
      this.olderFrom ??= this.firstMs();
      const firstMs = Math.min(this.firstMs(), this.olderFrom);
      const beginMs = Math.min(...Object.values(this.begins));
      if (!(beginMs < firstMs)) {
        this.change({ isOlderLoading: false, isAllThere: true });
        return;
      }
      const fromMs = Math.max(beginMs, firstMs - OLDER_ROWS * state.head.intervalMs);
      const older = await Promise.all(
        Object.keys(this.begins).map(async (exchange) => {
          const { data } = await get(this.recordPath(exchange, `&from=${fromMs}&to=${firstMs}`), {
            signal,
          });
          return [exchange, data.markets.flatMap(({ rows }) => rowsOf(data.columns, rows))];
        }),
      );
      this.olderFrom = fromMs;
      const markets = { ...this.state.markets };
      for (const [exchange, rows] of older) {
        const market = markets[exchange];
        markets[exchange] = { ...market, rows: prepended(market.rows, rows) };
      }
      const most = Math.max(...Object.values(markets).map(({ rows }) => rows.length));
      const isAllThere = fromMs <= beginMs || most >= MOST_ROWS;
      this.change({ markets, isOlderLoading: false, isAllThere, olderError: null });
      await this.mark(fromMs, firstMs);
    } catch (error) {
      if (!signal.aborted) this.change({ isOlderLoading: false, isAllThere: true, olderError: error });
    }
  }

  /** When the record of each exchange's market begins (ms); without those that have none. */
  async readBegins() {
    const there = this.exchanges.filter((exchange) => this.state.markets[exchange]?.isThere);
    const found = await Promise.all(
      there.map(async (exchange) => {
        const { data } = await get(this.recordPath(exchange, "&limit=1"), {
          signal: this.stopping.signal,
        });
        return [exchange, data.markets[0]?.rows[0]?.[0] ?? Infinity];
      }),
    );
    return Object.fromEntries(found.filter(([, beginMs]) => Number.isFinite(beginMs)));
  }

  recordPath(exchange, range) {
    const market = `${encodeURIComponent(exchange)}/${encodeURIComponent(this.symbol)}`;
    const asOf = this.asOf === null ? "" : `&as_of=${this.asOf}`;
    return `api/historical/candles/${market}?timeframe=${this.timeframe}${range}${asOf}`;
  }
}

/**
 * The state of a market's feed, with `reload` and `loadOlder`. `asOf`: UTC ms, null for now and what
 * comes. While another time of the same market is read, the rows shown before stay.
 */
export function useMarket({ symbol, timeframe, asOf, exchanges }) {
  const [state, setState] = useState(NOTHING);
  const feed = useRef(null);
  const market = `${symbol} ${timeframe} ${exchanges}`;
  const shown = useRef(null);
  useEffect(() => {
    const isSame = shown.current === market;
    shown.current = market;
    const mine = new MarketFeed({ symbol, timeframe, asOf, exchanges }, setState);
    feed.current = mine;
    if (isSame) mine.state = { ...state, isLoading: true, error: null };
    mine.load();
    if (asOf !== null) return () => mine.stop();
    const look = () => document.hidden || mine.refresh();
    const timer = setInterval(look, LOOK_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      mine.stop();
    };
  }, [market, asOf]);
  const query =
    asOf === null && symbol
      ? `event=document,candles&timeframe=${encodeURIComponent(timeframe)}&symbol=${encodeURIComponent(symbol)}`
      : null;
  useEvents(query, (event) => feed.current?.onEvent(event));
  return {
    ...state,
    reload: () => feed.current?.load(),
    loadOlder: () => feed.current?.loadOlder(),
  };
}
