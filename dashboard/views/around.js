// Around: what providers tell of prices, mood, fees, news, transfers and chains. Each block asks, and
// fails, alone, and says who answered and how old that is.
import { html } from "../lib/html.js";
import { usePolled } from "../lib/polled.js";
import { useStatus } from "../lib/status.js";
import { Empty, Loading } from "../lib/ui.js";
import { Guard, isOff } from "./around/block.js";
import { Chains } from "./around/chains.js";
import { Gas } from "./around/gas.js";
import { Mood, MOOD, MOOD_EVERY_S } from "./around/mood.js";
import { News } from "./around/news.js";
import { Prices } from "./around/prices.js";
import { Whales } from "./around/whales.js";
import { sentence } from "./sentence.js";

// By column; the last one is as wide as the page.
const COLUMNS = [
  [["Prices", Prices], ["Gas by chain", Gas], ["Chain statistics", Chains]],
  [["Fear and greed", Mood], ["Headlines", News]],
  [["Great transfers", Whales]],
];

export default function Around({ route }) {
  return html`
    <h1 tabindex="-1">Around</h1>
    <p class="lead">
      What providers tell beside the exchanges' candles. Who answered, and how old it is, stands with
      each value; an answer that is kept serves everybody while it is fresh.
    </p>
    <${Blocks} route=${route} />
  `;
}

/** The blocks; with PROVIDERS=off one line in place of them all. */
function Blocks({ route }) {
  const { data: status } = useStatus();
  const mood = usePolled(MOOD, MOOD_EVERY_S); // as the block asks
  if (isOff(mood.error)) return html`<div class="card"><${Empty}>${sentence(mood.error.detail)}<//></div>`;
  // Without a status that tells of providers, they may be off: one question is asked first.
  const areKnown = Boolean(status?.providers) || mood.data !== null || mood.error !== null;
  if (!areKnown) return html`<${Loading} what="Asking" />`;
  return html`
    <div class="around">
      ${COLUMNS.map(
        (blocks, place) => html`
          <div class="around-column" key=${place}>
            ${blocks.map(([title, Part]) => html`<${Guard} key=${title} title=${title}><${Part} route=${route} /><//>`)}
          </div>
        `,
      )}
    </div>
  `;
}
