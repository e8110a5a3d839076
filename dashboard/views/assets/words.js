// Figures of assets in words, and what each of them means.
import { utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { named } from "../market/exchanges.js";
import { exact, plain } from "../market/numbers.js";

/** "Binance, Bybit and OKX". */
export function listed(exchanges) {
  const names = exchanges.map(named);
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : (names[0] ?? "no exchange");
}

/** The API's reason, with its times (ms) as times. */
export const timed = (reason) => reason.replace(/\b\d{13}\b/g, (ms) => `${utc(Number(ms))} UTC`);

/** Which exchanges a figure is of, if that is not all of these; begins with a comma. */
export const among = (exchanges, all) => (exchanges.length < all.length ? `, of ${listed(exchanges)} only` : "");

/** A price of one coin: as a quotient it has digits that no exchange quotes. */
export const priced = (value) => html`<data value=${plain(value)}>${exact(Number(value.toPrecision(8)))}</data>`;

/** What is not known: a dash for the eyes, words for the ears. */
export const unknown = () => html`<span title="not known">–<span class="unseen"> not known</span></span>`;

const MEANINGS = [
  ["One instant", "All figures are of the same time, the end of the newest 5m candle of which open interest is known: the price is the close of that candle, open interest the snapshot stamped with that end."],
  ["Price", "Of one coin: a contract of 1000PEPE counts as a thousand. Over exchanges it is the median, weighted by open interest."],
  ["Spread", "How far the highest price lies above the lowest, in basis points (0.01%) of the lowest; without fees."],
  ["Open interest", "One-sided: each contract has a long and a short side, and one of them is counted. In quote it is each market’s coins times its own price, then summed."],
  ["Change", "Open interest now less that of 1, 4 or 24 hours ago, in coins, over the markets that tell both: a market that was listed in between does not look like one."],
  ["Funding", "The last settled rate. Per 8 h: times 8, by the hours between two settlements. Per year: times 8,760, by those hours; simple, not compounded. Above zero longs pay, below zero shorts do."],
  ["Funding over exchanges", "The mean of the rates per 8 h, weighted by open interest in quote."],
  ["Turnover", "Of the closed candles of the 24 hours before, in quote."],
  ["Left out", "A market that is old, has no candle of that time, or whose price says that it is another coin of the same name stands in no sum, and is named with the reason."],
];

/** The definitions, one press away. */
export function Meanings() {
  return html`
    <details class="meanings">
      <summary>What these figures mean</summary>
      <p class="note">A dash is what is not known; it counts as nothing, never as 0.</p>
      <dl>${MEANINGS.map(([title, text]) => html`<div key=${title}><dt>${title}</dt><dd>${text}</dd></div>`)}</dl>
      <p class="note">With formulas and their sources: docs/overview.md. As JSON: GET /market, GET /market/{asset} and GET /cache/overview, described in the <a href="../docs">API</a>.</p>
    </details>
  `;
}
