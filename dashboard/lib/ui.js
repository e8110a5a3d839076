// The parts that all views are made of. Classes only: the content security policy has no place for
// style attributes. Colour is never the only sign: badges have a shape, and say what they mean.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { capital } from "./format.js";
import { html } from "./html.js";
import { askFor } from "./api.js";

/** A part of a page with a heading. `actions`: buttons beside it; `note`: a line under it. */
export function Card({ title, level = 2, actions, note, wide = false, children }) {
  const id = useId();
  const heading = level === 2 ? "h2" : "h3";
  return html`
    <section class="card ${wide ? "card-wide" : ""}" aria-labelledby=${id}>
      <div class="card-head">
        <${heading} id=${id}>${title}<//>
        ${actions && html`<div class="card-actions">${actions}</div>`}
      </div>
      ${note && html`<p class="note">${note}</p>`}
      ${children}
    </section>
  `;
}

/**
 * A short state: level is "ok", "warning", "critical", "info" or "off"; the text says it too, and
 * begins large.
 */
export function Badge({ level = "info", children, title }) {
  const [first, ...others] = Array.isArray(children) ? children : [children];
  const begun = typeof first === "string" ? capital(first) : first;
  return html`<span class="badge badge-${level}" title=${title}>${begun}${others}</span>`;
}

/**
 * A table. `columns`: {key, title, render?(row), align?: "right", sort?(row), hint?, wide?}; one that
 * is `wide` is left out on phones. `rows`: values by key; `rowKey(row)`: what a row is, over
 * refreshes. With `sortable` the heads are buttons, and `sort` starts as {key, down}. `caption` names
 * it; `showCaption` shows that. `stacked`: where the window is narrow, each row is a block with the
 * titles beside its values.
 */
export function Table({
  caption,
  columns,
  rows,
  rowKey = (row, index) => row.id ?? index,
  rowClass = () => "",
  sortable = false,
  sort: first = null,
  showCaption = false,
  stacked = false,
  empty = "Nothing to show.",
}) {
  const [sort, setSort] = useState(first);
  const column = sort && columns.find(({ key }) => key === sort.key);
  const shown = column ? sorted(rows, column, sort.down) : rows;
  const role = (name) => (stacked ? name : undefined); // a block loses the role of its element
  const press = (key) => setSort({ key, down: sort?.key === key ? !sort.down : false });
  return html`
    <div class="table-wrap" tabindex="0" role="group" aria-label=${caption}>
      <table class=${stacked ? "stacked" : ""} role=${role("table")}>
        <caption class=${showCaption ? "" : "unseen"}>${caption}</caption>
        <thead role=${role("rowgroup")}>
          <tr role=${role("row")}>
            ${columns.map(
              (each) => html`<${Head} key=${each.key} ...${{ column: each, sortable, sort, press, stacked }} />`,
            )}
          </tr>
        </thead>
        <tbody role=${role("rowgroup")}>
          ${shown.map(
            (row, index) => html`
              <tr key=${rowKey(row, index)} class=${rowClass(row)} role=${role("row")}>
                ${columns.map((each, place) => cell(each, row, place, stacked))}
              </tr>
            `,
          )}
          ${shown.length === 0 &&
          html`<tr><td class="muted" colspan=${columns.length}>${empty}</td></tr>`}
        </tbody>
      </table>
    </div>
  `;
}

function Head({ column, sortable, sort, press, stacked }) {
  const isOn = sort?.key === column.key;
  const way = isOn ? (sort.down ? "descending" : "ascending") : undefined;
  const can = sortable && column.sort !== false;
  return html`
    <th scope="col" role=${stacked ? "columnheader" : undefined} class=${classOf(column)} aria-sort=${way} title=${column.hint}>
      ${can
        ? html`<button type="button" class="sort" onClick=${() => press(column.key)}>
            ${column.title}<span class="sort-way" aria-hidden="true">${isOn ? (sort.down ? "▾" : "▴") : ""}</span>
          </button>`
        : column.title}
    </th>
  `;
}

function cell(column, row, place, stacked) {
  const content = column.render ? column.render(row) : row[column.key];
  const title = stacked ? column.title : undefined;
  return place === 0
    ? html`<th scope="row" class=${classOf(column)} key=${column.key} role=${stacked ? "rowheader" : undefined}>${content}</th>`
    : html`<td class=${classOf(column)} key=${column.key} role=${stacked ? "cell" : undefined} data-title=${title}>${content}</td>`;
}

/** The classes of a column's cells. */
export const classOf = ({ align, wide }) => [align === "right" && "right", wide && "wide"].filter(Boolean).join(" ");

/** Rows by a column; what is unknown comes last, whichever way. */
function sorted(rows, column, down) {
  const value = typeof column.sort === "function" ? column.sort : (row) => row[column.key];
  const isKnown = (each) => each !== null && each !== undefined && !Number.isNaN(each);
  const sign = down ? -1 : 1;
  return [...rows].sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    if (!isKnown(a) || !isKnown(b)) return Number(isKnown(b)) - Number(isKnown(a));
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  });
}

/** A labelled input. `children`: a function of what the input must carry: html`<input ...${carried} />` */
export function Field({ label, hint, error, children }) {
  const id = useId();
  const carried = {
    id,
    "aria-describedby": [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined,
    "aria-invalid": error ? "true" : undefined,
  };
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children(carried)}
      ${hint && html`<p class="hint" id="${id}-hint">${capital(hint)}</p>`}
      ${error && html`<p class="field-error" id="${id}-error">${error}</p>`}
    </div>
  `;
}

/** A button. `kind`: "plain", "primary" or "danger"; `busy`: it is pressed already. */
export function Button({ kind = "plain", busy = false, disabled, type = "button", children, ...rest }) {
  return html`
    <button type=${type} class="button button-${kind}" disabled=${disabled || busy} aria-busy=${busy ? "true" : undefined} ...${rest}>
      ${children}
    </button>
  `;
}

/** What went wrong, in words, and what can be done: a token, or another try. */
export function ErrorBox({ error, retry, what = "This cannot be shown" }) {
  if (!error) return null;
  const needsToken = error.status === 401;
  const withToken = async () => {
    if ((await askFor("READ_TOKEN")) !== null) retry?.();
  };
  return html`
    <div class="box box-critical" role="alert">
      <p><strong>${what}:</strong> ${error.detail ?? error.message}.</p>
      ${needsToken && html`<${Button} onClick=${withToken}>Enter the token<//>`}
      ${!needsToken && retry && html`<${Button} onClick=${retry}>Try again<//>`}
    </div>
  `;
}

/** Something is asked for, and nothing of it is there yet. */
export function Loading({ what = "Loading" }) {
  return html`<p class="loading" role="status">${what} …</p>`;
}

/** There is nothing to show, and why. */
export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

/** A modal dialog; closed by Escape and by what it holds. Focus goes back to where it was. */
export function Dialog({ title, open, onClose, wide = false, children }) {
  const ref = useRef(null);
  const untold = useRef(0); // closings of ours whose event comes later, when it may be open again
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) {
      untold.current += 1;
      dialog.close();
    }
  }, [open]);
  const closed = () => {
    if (untold.current > 0) untold.current -= 1;
    else if (open) onClose();
  };
  return html`
    <dialog ref=${ref} class="dialog ${wide ? "dialog-wide" : ""}" aria-labelledby=${id} onClose=${closed}>
      ${open && html`<h2 id=${id}>${title}</h2>${children}`}
    </dialog>
  `;
}

/** How far something is: `done` of `total`, with a label for screen readers. */
export function Progress({ label, done, total }) {
  return html`<progress class="progress" aria-label=${label} value=${total > 0 ? done : undefined} max=${total || 1} />`;
}
