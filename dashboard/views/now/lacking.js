// A dialog: what a document lacks, market by market, and why.
import { useEffect, useState } from "preact/hooks";
import { get } from "../../lib/api.js";
import { plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Button, Dialog, ErrorBox, Loading, Table } from "../../lib/ui.js";
import { lengthOf } from "./words.js";

const DEADLINE_MS = 30_000; // a document of all markets, one row of each
const MOST = 500;

export function Lacking({ name, onClose }) {
  const [{ rows, error }, setFound] = useState({});
  useEffect(() => {
    const giving = new AbortController();
    get(`cache/${name}?limit=1`, { signal: giving.signal, deadlineMs: DEADLINE_MS }).then(
      ({ data }) => setFound({ rows: lackingRows(data) }),
      (failed) => giving.signal.aborted || setFound({ error: failed }),
    );
    return () => giving.abort();
  }, [name]);
  const isSeries = lengthOf(name) !== null;
  const columns = [
    { key: "exchange", title: "Exchange" },
    { key: "symbol", title: "Market", render: ({ symbol }) => (isSeries ? html`<a href=${href("market", [symbol, name])}>${symbol}</a>` : symbol) },
    { key: "what", title: "What" },
    { key: "why", title: "Why" },
  ];
  return html`
    <${Dialog} title="What ${name} lacks" open=${true} onClose=${onClose}>
      <${ErrorBox} error=${error} />
      ${!rows && !error && html`<${Loading} what="Reading the document" />`}
      ${rows &&
      html`
        <div class="lacking">
          <${Table} caption="What ${name} lacks" columns=${columns} rows=${rows.slice(0, MOST)} rowKey=${(_, index) => index} sortable />
        </div>
        ${rows.length > MOST && html`<p class="note">${plural(rows.length - MOST, "row")} more: see /cache/${name}</p>`}
      `}
      <div class="dialog-actions"><${Button} onClick=${onClose}>Close<//></div>
    <//>
  `;
}

function lackingRows({ missing, markets }) {
  return [
    ...missing.map(({ exchange, symbol, part, reason }) => ({ exchange, symbol, what: `${part.replaceAll("_", " ")} missing`, why: reason })),
    ...markets
      .filter(({ stale_since: since }) => since)
      .map(({ exchange, symbol, stale_since: since }) => ({ exchange, symbol, what: "rows carried over", why: `not read since ${utc(since)} UTC` })),
  ];
}
