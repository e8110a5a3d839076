// A table of thousands of rows, of which only those in sight are in the page: the others are two empty
// rows as high as they would be.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "../../lib/html.js";
import { classOf } from "../../lib/ui.js";

const ROW_PX = 32; // as markets.css has it
const BEYOND = 8; // rows above and below those in sight
const FIRST_PX = 640; // before it is known how high the table is

/**
 * `columns`: {key, title, hint?, align?, wide?, render(row)}, as in lib/ui.js; the first is the row's head. `rows` in order;
 * `sort`: {key, isDown}; `onSort(key)`.
 */
export function WindowedTable({ caption, columns, rows, sort, onSort }) {
  const box = useRef(null);
  const [seen, setSeen] = useState({ top: 0, height: FIRST_PX });
  useEffect(() => {
    const element = box.current; // a scroll may still be told of when the table is gone
    const look = () => setSeen({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  // Another order begins at its top.
  useLayoutEffect(() => {
    box.current.scrollTop = 0;
  }, [sort.key, sort.isDown]);
  const first = Math.max(0, Math.floor(seen.top / ROW_PX) - BEYOND);
  const last = Math.min(rows.length, Math.ceil((seen.top + seen.height) / ROW_PX) + BEYOND);
  return html`
    <div class="windowed" ref=${box} tabindex="0" role="region" aria-label=${caption}>
      <table aria-rowcount=${rows.length + 1}>
        <caption class="unseen">${caption}</caption>
        <thead>
          <tr aria-rowindex="1">
            ${columns.map((column) => html`<${Head} key=${column.key} ...${{ column, sort, onSort }} />`)}
          </tr>
        </thead>
        <tbody>
          <${Space} rows=${first} columns=${columns.length} />
          ${rows.slice(first, last).map(
            (row, index) => html`
              <tr key=${row.key} aria-rowindex=${first + index + 2} data-key=${row.key}>
                ${columns.map((column, place) => cell(column, row, place))}
              </tr>
            `,
          )}
          <${Space} rows=${Math.max(0, rows.length - last)} columns=${columns.length} />
        </tbody>
      </table>
    </div>
  `;
}

function Head({ column, sort, onSort }) {
  const isOn = sort.key === column.key;
  const way = isOn ? (sort.isDown ? "descending" : "ascending") : undefined;
  return html`
    <th scope="col" class=${classOf(column)} aria-sort=${way} title=${column.hint}>
      <button type="button" class="sort" onClick=${() => onSort(column.key)}>
        ${column.title}<span class="sort-way" aria-hidden="true">${isOn ? (sort.isDown ? "▾" : "▴") : ""}</span>
      </button>
    </th>
  `;
}

function cell(column, row, place) {
  return place === 0
    ? html`<th scope="row" class=${classOf(column)} key=${column.key}>${column.render(row)}</th>`
    : html`<td class=${classOf(column)} key=${column.key} data-column=${column.key}>${column.render(row)}</td>`;
}

/** As high as so many rows, which are not in the page. */
function Space({ rows, columns }) {
  if (rows === 0) return null;
  return html`<tr aria-hidden="true" class="space"><td colspan=${columns} style=${{ height: `${rows * ROW_PX}px` }}></td></tr>`;
}
