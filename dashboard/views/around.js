// Around: what providers tell of prices, mood, fees, news, transfers and chains. Each block asks, and
// fails, alone, and says who answered and how old that is.
import { html } from "../lib/html.js";
import { Guard } from "./around/block.js";
import { Chains } from "./around/chains.js";
import { Gas } from "./around/gas.js";
import { Mood } from "./around/mood.js";
import { News } from "./around/news.js";
import { Prices } from "./around/prices.js";
import { Whales } from "./around/whales.js";

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
