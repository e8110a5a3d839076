// The few numbers that say how the service does.
import { age, number, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { named } from "../market/exchanges.js";
import { isKnown, lengthOf } from "./words.js";

export function Summary({ status, now }) {
  const tiles = [lastClose(status, now), markets(status), streams(status), record(status)];
  return html`
    <dl class="tiles">
      ${tiles.filter(isKnown).map(
        ({ title, value, note }) => html`
          <div class="tile" key=${title}>
            <dt>${title}</dt>
            <dd><span class="tile-value">${value}</span><span class="tile-note">${note}</span></dd>
          </div>
        `,
      )}
    </dl>
  `;
}

/** The newest close, and how soon all documents had it; else the newest publish. */
function lastClose({ documents, exchanges }, now) {
  const closings = Object.values(exchanges).map(({ closing }) => closing).filter(isKnown);
  if (closings.length > 0) {
    const close = Math.max(...closings.map((each) => each.close));
    const finished = Math.max(...closings.map((each) => each.finished_at));
    const ready = (finished - close) / 1000;
    const took = ready < 600 ? `in all documents after ${number(ready, 1)} s` : "in all documents";
    return { title: "Newest close", value: `${utc(close, "time").slice(0, 5)} UTC`, note: took };
  }
  const published = Object.values(documents).filter(isKnown);
  if (published.length === 0) return { title: "Newest publish", value: "None", note: "nothing is collected yet" };
  const newest = Math.max(...published.map(({ updated_at: at }) => at));
  return { title: "Newest publish", value: `${age((now - newest) / 1000)} ago`, note: `${utc(newest, "seconds")} UTC` };
}

function markets({ documents, exchanges }) {
  const shortest = Object.entries(documents)
    .filter(([name, document]) => document !== null && lengthOf(name) !== null)
    .sort(([one], [two]) => lengthOf(one) - lengthOf(two))[0]?.[1];
  const lists = Object.entries(exchanges).filter(([, { list }]) => list !== null);
  return {
    title: "Markets",
    value: shortest ? number(shortest.markets) : "–",
    note: lists.map(([name, { list }]) => `${number(list.enabled)} ${named(name)}`).join(", ") || "in documents",
  };
}

function streams({ exchanges }) {
  const live = Object.values(exchanges).filter(({ is_live: isLive }) => isLive);
  if (live.length === 0) return { title: "Streams", value: "Off", note: "candles are asked for at each close" };
  const feeds = live.map(({ feed }) => feed).filter(isKnown);
  const followed = feeds.reduce((sum, feed) => sum + feed.markets, 0);
  const lags = feeds.map(({ lag_ms: lag }) => lag.p50).filter(isKnown);
  const note = lags.length > 0 ? `closes ${number(Math.max(...lags) / 1000, 1)} s late, median` : "no close seen yet";
  return { title: "Streams", value: plural(followed, "market"), note: feeds.length > 0 ? note : "nobody feeds them" };
}

function record({ history }) {
  if (history === null) return null;
  if (!history.is_kept) return { title: "Record", value: "Off", note: "HISTORY is off" };
  if (history.waiting > 0) {
    return { title: "Record", value: `${age(history.behind_s)} behind`, note: `${plural(history.waiting, "publish", "publishes")} to write` };
  }
  if (history.recorded_at === null) return { title: "Record", value: "Empty", note: "nothing is recorded yet" };
  return { title: "Record", value: "Complete", note: gaps(history) };
}

const gaps = ({ gaps: count }) => (count === 0 ? "no gaps" : plural(count, "gap"));
