// The chart's table twin: all rows of a market, newest first, some at a time, with what was corrected.
import { useState } from "preact/hooks";
import { html } from "../../lib/html.js";
import { utc } from "../../lib/format.js";
import { Button, Table } from "../../lib/ui.js";
import { exactPercent, plain, NONE } from "./numbers.js";
import { inWords } from "./exchange_chart.js";
import { Value } from "./value.js";

const PAGE = 50;

export function RowsTable({ name, market, decimals, revisions, lastClosed, asOf }) {
  const [open, setOpen] = useState(false);
  const [count, setCount] = useState(PAGE);
  const { rows, base, quote } = market;
  const number = (key, title, least) => ({
    key,
    title,
    align: "right",
    render: (row) => html`<${Value} value=${row[key]} decimals=${least} />`,
  });
  const columns = [
    {
      key: "open_time",
      title: "Opened (UTC)",
      render: (row) => html`<span class="nowrap">${utc(row.open_time)}</span>`,
    },
    ...["open", "high", "low", "close"].map((key) => number(key, key[0].toUpperCase() + key.slice(1), decimals)),
    number("volume", `Volume, ${base}`, 0),
    number("turnover", `Turnover, ${quote}`, 0),
    number("open_interest", `Open interest, ${base}`, 0),
    {
      key: "funding_rate",
      title: "Funding rate",
      align: "right",
      render: ({ funding_rate: rate }) =>
        rate === null ? NONE : html`<data value=${plain(rate)}>${exactPercent(rate)}</data>`,
    },
    {
      key: "remark",
      title: "Remark",
      render: (row) => {
        const versions = revisions?.get(row.open_time);
        if (row.open_time > lastClosed) return "forming";
        return versions ? inWords(row, versions, decimals, asOf) : "";
      },
    },
  ];
  const shown = open ? rows.slice(-count).reverse() : [];
  return html`
    <details class="twin" onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>The rows as a table</summary>
      ${open &&
      html`
        <${Table}
          caption="${name}: ${shown.length} of ${rows.length} rows, newest first"
          showCaption=${true}
          columns=${columns}
          rows=${shown}
          rowKey=${(row) => row.open_time}
        />
        ${count < rows.length &&
        html`<${Button} onClick=${() => setCount(count + PAGE)}>Show ${Math.min(PAGE, rows.length - count)} earlier rows<//>`}
      `}
    </details>
  `;
}
