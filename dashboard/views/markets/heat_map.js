// The heat map: a tile for each coin, in it a coloured cell for each exchange, with its number. One stop
// of the tab key; arrow keys move between the cells.
import { useId, useMemo, useRef, useState } from "preact/hooks";
import { html } from "../../lib/html.js";
import { href } from "../../lib/route.js";
import { Button } from "../../lib/ui.js";
import { plural } from "../../lib/format.js";
import { named } from "../market/exchanges.js";
import { classNameOf, classOf, legendOf, signed } from "./scale.js";
import { coinsOf } from "./coins.js";

const FIRST = innerWidth < 640 ? 24 : 60; // coins, the largest by turnover

/** `rows`: of tableOf; `measure`: one of MEASURES; `exchanges`: those that are shown, in order. */
export function HeatMap({ rows, measure, exchanges, timeframe }) {
  const [isWhole, setWhole] = useState(false);
  const [current, setCurrent] = useState(null); // the key of the cell that the tab key stops at
  const box = useRef(null);
  const id = useId();
  const coins = useMemo(() => coinsOf(rows), [rows]);
  const shown = isWhole ? coins : coins.slice(0, FIRST);
  const counts = useMemo(() => counted(rows, measure), [rows, measure]);
  const keys = shown.flatMap(({ cells }) => exchanges.filter((each) => cells[each]).map((each) => cells[each].key));
  const stop = keys.includes(current) ? current : keys[0];
  const onKeyDown = (event) => {
    const next = neighbour(box.current, event);
    if (next === null) return;
    event.preventDefault();
    setCurrent(next.dataset.key);
    next.focus();
  };
  return html`
    <div class="heat-legend" id="${id}-legend">
      <span class="muted">${measure.low}</span>
      ${legendOf(measure).map(
        ({ step, text }) => html`<span key=${step} class="heat-key ${classNameOf(step)}"><span>${text}</span> <span class="heat-count">${counts.get(step) ?? 0}</span></span>`,
      )}
      <span class="muted">${measure.high}</span>
      ${counts.get(null) > 0 && html`<span class="heat-key heat-none"><span>not known</span> <span class="heat-count">${counts.get(null)}</span></span>`}
    </div>
    <ul class="heat" ref=${box} aria-label="${measure.title}, ${plural(shown.length, "coin")}, by turnover; arrow keys move" aria-describedby="${id}-legend" onKeyDown=${onKeyDown}>
      ${shown.map(
        ({ coin, cells }) => html`
          <${Coin} key=${coin} ...${{ coin, cells, measure, exchanges, timeframe }} stop=${holds(cells, stop) ? stop : null} onStop=${setCurrent} />
        `,
      )}
    </ul>
    ${coins.length > FIRST &&
    html`<${Button} onClick=${() => setWhole(!isWhole)}>${isWhole ? `Show the ${FIRST} largest` : `Show all ${coins.length} coins`}<//>`}
  `;
}

function Coin({ coin, cells, measure, exchanges, timeframe, stop, onStop }) {
  return html`
    <li class="heat-coin">
      <span class="heat-name" title=${coin}>${coin}</span>
      ${exchanges.map((exchange) => {
        const row = cells[exchange];
        if (row === undefined) return html`<span key=${exchange} class="heat-cell heat-absent" aria-hidden="true"></span>`;
        const value = row[measure.key];
        return html`
          <a
            key=${exchange}
            class="heat-cell ${classNameOf(classOf(value, measure.limits))}"
            href=${href("market", [row.symbol, timeframe], exchanges.length > 1 ? {} : { exchanges: exchange })}
            data-key=${row.key}
            tabindex=${row.key === stop ? 0 : -1}
            aria-label="${row.base} on ${named(exchange)}: ${value === null ? "not known" : signed(value, measure.digits)}"
            title="${row.symbol} on ${named(exchange)}"
            onFocus=${() => onStop(row.key)}
          >
            <span class="heat-exchange">${named(exchange).slice(0, 3)}</span>${signed(value, measure.digits).replace("%", "")}
          </a>
        `;
      })}
    </li>
  `;
}

const holds = (cells, key) => Object.values(cells).some((row) => row.key === key);

/** How many markets are of each class. */
function counted(rows, { key, limits }) {
  const counts = new Map();
  for (const row of rows) {
    const step = classOf(row[key], limits);
    counts.set(step, (counts.get(step) ?? 0) + 1);
  }
  return counts;
}

/** The cell that an arrow key leads to, by where the cells are; null where the key means nothing. */
function neighbour(box, event) {
  const cells = [...box.querySelectorAll("a")];
  const at = cells.indexOf(document.activeElement);
  if (at < 0 || event.ctrlKey || event.altKey || event.metaKey) return null;
  if (event.key === "Home") return cells[0];
  if (event.key === "End") return cells.at(-1);
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight" && event.key !== "ArrowUp" && event.key !== "ArrowDown") return null;
  const from = cells[at].getBoundingClientRect();
  const isSideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  const sign = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1;
  let best = null;
  for (const cell of cells) {
    const to = cell.getBoundingClientRect();
    const along = sign * (isSideways ? to.left - from.left : to.top - from.top);
    const across = Math.abs(isSideways ? to.top - from.top : to.left - from.left);
    if (along <= 1 || (isSideways && across > from.height / 2)) continue;
    const far = along + 10 * across;
    if (best === null || far < best.far) best = { far, cell };
  }
  return best?.cell ?? cells[at];
}
