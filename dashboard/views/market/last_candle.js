// The last candle in words and numbers: the one that is forming, and the last that had closed.
import { html } from "../../lib/html.js";
import { percent, utc } from "../../lib/format.js";
import { change, exact, exactPercent, NONE, plain } from "./numbers.js";
import { lastRows } from "./series.js";
import { Value } from "./value.js";

const hour = (ms) => utc(ms).slice(11);

/** A sentence on what the market did last. */
export function sentence({ rows, base, quote }, { lastClosed, intervalMs }, decimals) {
  const { closed, forming } = lastRows(rows, lastClosed);
  const row = forming ?? closed;
  if (row === null) return "No candle of this market is in the document.";
  const end = row.open_time + intervalMs;
  const moved = change(row.open, row.close);
  const way = moved === 0 ? "unchanged" : `${moved < 0 ? "down" : "up"} ${percent(Math.abs(moved), 2)}`;
  const what = forming
    ? `The candle of ${utc(row.open_time)} UTC is still forming, until ${hour(end)}`
    : `The last candle, of ${utc(row.open_time)} UTC, closed at ${hour(end)}`;
  const before = rows.at(-2);
  const oi = change(before?.open_interest, row.open_interest);
  const interest =
    row.open_interest === null
      ? "open interest at its opening is not known"
      : `open interest at its opening was ${exact(row.open_interest)} ${base}` +
        (oi === null ? "" : ` (${percent(oi, 2, true)} in one candle)`);
  const funding =
    row.funding_rate === null
      ? "the funding rate in force is not known"
      : `the funding rate in force is ${exactPercent(row.funding_rate)}`;
  return `${what}: ${exact(row.close, decimals)} ${quote}, ${way} since it opened; ${interest}, and ${funding}.`;
}

/** The numbers of both candles, side by side. */
export function LastCandles({ name, market, head, decimals }) {
  const { closed, forming } = lastRows(market.rows, head.lastClosed);
  const shown = [
    closed && { title: "Last closed", row: closed },
    forming && { title: "Forming", row: forming },
  ].filter(Boolean);
  if (shown.length === 0) return null;
  const { base, quote } = market;
  const lines = [
    ...["open", "high", "low", "close"].map((key) => [key, key[0].toUpperCase() + key.slice(1), quote, decimals]),
    ["volume", "Volume", base, 0],
    ["turnover", "Turnover", quote, 0],
    ["open_interest", "Open interest", base, 0],
  ];
  return html`
    <table class="last">
      <caption class="unseen">${name}: the last candles</caption>
      <thead>
        <tr>
          <td></td>
          ${shown.map(
            ({ title, row }) => html`
              <th scope="col" class="right" key=${title}>
                ${title} ${" "}<time datetime=${new Date(row.open_time).toISOString()}>${hour(row.open_time)}–${hour(row.open_time + head.intervalMs)}</time>
              </th>
            `,
          )}
        </tr>
      </thead>
      <tbody>
        ${lines.map(
          ([key, title, unit, least]) => html`
            <tr key=${key} data-column=${key}>
              <th scope="row">${title} <span class="muted">${unit}</span></th>
              ${shown.map(({ title: of, row }) => html`<td class="right" key=${of}><${Value} value=${row[key]} decimals=${least} /></td>`)}
            </tr>
          `,
        )}
        <tr data-column="funding_rate">
          <th scope="row">Funding rate</th>
          ${shown.map(
            ({ title, row }) => html`
              <td class="right" key=${title}>
                ${row.funding_rate === null ? NONE : html`<data value=${plain(row.funding_rate)}>${exactPercent(row.funding_rate)}</data>`}
              </td>
            `,
          )}
        </tr>
      </tbody>
    </table>
  `;
}
