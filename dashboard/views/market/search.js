// The search for a market: what is typed, and the symbols that it may mean, by keyboard or pointer.
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { coinOf } from "../markets/coins.js";
import { named } from "./exchanges.js";

const MOST = 12;
export const COINS_S = 300; // how often the list of markets is asked for

/** Symbols with the exchanges that have them: [{symbol, base, exchanges}], by name. */
export function symbolsOf(coins) {
  const by = new Map();
  for (const { symbol, base, exchange } of coins) {
    const known = by.get(symbol) ?? { symbol, base, exchanges: [] };
    known.exchanges.push(exchange);
    by.set(symbol, known);
  }
  return [...by.values()].sort((one, two) => one.symbol.localeCompare(two.symbol));
}

/** The symbols that a text may mean, the likeliest first: the coin itself, its beginning, a part. */
export function matching(symbols, text, most = MOST) {
  const wanted = text.trim().toUpperCase();
  const rank = ({ symbol, base }) => {
    const coin = coinOf(base);
    if (symbol === wanted || base === wanted || coin === wanted) return 0;
    if (coin.startsWith(wanted)) return 1;
    if (symbol.startsWith(wanted)) return 2;
    return symbol.includes(wanted) ? 3 : 4;
  };
  return symbols
    .map((each) => [rank(each), each])
    .filter(([place]) => place < 4)
    .sort(([one, a], [two, b]) => one - two || b.exchanges.length - a.exchanges.length || a.symbol.length - b.symbol.length)
    .slice(0, most)
    .map(([, each]) => each);
}

/** `symbol`: the one that is shown; `onChoose(symbol)`. */
export function MarketSearch({ symbol, onChoose }) {
  const { data, error } = usePolled("coins", COINS_S);
  const [text, setText] = useState(symbol);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const id = useId();
  const list = useRef(null);
  const symbols = useMemo(() => (data ? symbolsOf(data.coins) : []), [data]);
  const isTyped = text !== symbol;
  const found = useMemo(() => matching(symbols, isTyped ? text : ""), [symbols, text, symbol]);
  useEffect(() => setText(symbol), [symbol]);
  useEffect(() => list.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at]);

  const choose = (chosen) => {
    setOpen(false);
    setText(chosen);
    if (chosen && chosen !== symbol) onChoose(chosen);
  };
  const onKeyDown = (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      if (open) setAt((found.length + at + steps[event.key]) % Math.max(1, found.length));
      else setOpen(true);
    } else if (event.key === "Enter") {
      choose((open && found[at]?.symbol) || text.trim().toUpperCase());
    } else if (event.key === "Escape" && (open || isTyped)) {
      setOpen(false);
      setText(symbol);
    } else return;
    event.preventDefault();
  };
  const onInput = (event) => {
    setText(event.currentTarget.value);
    setAt(0);
    setOpen(true);
  };
  return html`
    <div class="search">
      <label for=${id}>Market</label>
      <input
        id=${id}
        type="text"
        role="combobox"
        autocomplete="off"
        autocapitalize="characters"
        spellcheck="false"
        aria-expanded=${open ? "true" : "false"}
        aria-controls="${id}-list"
        aria-autocomplete="list"
        aria-activedescendant=${open && found[at] ? `${id}-${found[at].symbol}` : undefined}
        value=${text}
        onInput=${onInput}
        onKeyDown=${onKeyDown}
        onFocus=${(event) => event.currentTarget.select()}
        onClick=${() => setOpen(true)}
        onBlur=${() => setOpen(false)}
      />
      <ul id="${id}-list" role="listbox" aria-label="Markets" class="suggestions" hidden=${!open} ref=${list}>
        ${found.map(
          (each, index) => html`
            <li
              key=${each.symbol}
              id="${id}-${each.symbol}"
              role="option"
              aria-selected=${index === at ? "true" : "false"}
              onMouseDown=${(event) => event.preventDefault()}
              onClick=${() => choose(each.symbol)}
            >
              <b>${each.symbol}</b> <span class="muted">${each.exchanges.map(named).join(", ")}</span>
            </li>
          `,
        )}
        ${found.length === 0 &&
        html`<li role="option" aria-disabled="true" aria-selected="false" class="muted">
          ${error ? `The list of markets cannot be read: ${error.detail}` : data ? "No market has this name" : "Loading the markets …"}
        </li>`}
      </ul>
    </div>
  `;
}
