// Headlines: what all feeds tell, each story once. Titles are text, links lead to the web alone.
import { useState } from "preact/hooks";
import { ago, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { useNow } from "../../lib/status.js";
import { Badge, Button } from "../../lib/ui.js";
import { AskedFor } from "./asked_for.js";
import { Block, OutLink, Tried } from "./block.js";
import { names } from "./numbers.js";

const EVERY_S = 300; // a feed is asked every 5 minutes at most
const FIRST = 12;
const MOST = 60;
const FIELDS = [{ name: "about", label: "About", hint: "assets, such as btc, eth; none: all stories" }];

export function News({ route }) {
  const [limit, setLimit] = useState(FIRST);
  const about = route.query.about ?? "";
  const query = new URLSearchParams({ limit });
  if (about !== "") query.set("assets", names(about).join(","));
  const asked = usePolled(`api/news?${query}`, EVERY_S);
  const error = asked.error && { ...asked.error, data: renamed(asked.error.data) };
  const onChange = (draft) => route.set({ about: draft.about.trim() || null });
  const form = html`<${AskedFor} title="Stories about" fields=${FIELDS} values=${{ about }} onChange=${onChange} error=${error} />`;
  return html`
    <${Block} title="Headlines" asked=${asked} form=${form}>
      ${(data) => html`
        <${Stories} data=${data} />
        ${data.news.length === limit && limit < MOST &&
        html`<p><${Button} onClick=${() => setLimit(MOST)}>More headlines<//></p>`}
      `}
    <//>
  `;
}

/** The API's name of the field is another. */
function renamed(data) {
  if (!Array.isArray(data?.detail)) return data;
  const detail = data.detail.map((each) => ({ ...each, loc: each.loc?.map((part) => (part === "assets" ? "about" : part)) }));
  return { ...data, detail };
}

function Stories({ data }) {
  const now = useNow(10);
  if (data.news.length === 0) return html`<p class="empty">No story of the last day.</p>`;
  return html`
    <ol class="stories">
      ${data.news.map(
        (story) => html`
          <li key=${story.id}>
            <p class="story-title"><${OutLink} url=${story.url}>${story.title}<//></p>
            <p class="note">
              <span title=${story.resource}>${story.source}</span>, <${Told} story=${story} now=${now} />
              ${story.via.length > 1 && html`, also ${plural(story.via.length - 1, "other feed")}`}
              ${story.stale_since !== null &&
              html`${" "}<${Badge} level="warning" title="the feed does not tell it now">stale<//>`}
              ${story.assets.map((asset) => html`${" "}<span class="chip" key=${asset}>${asset}</span>`)}
            </p>
          </li>
        `,
      )}
    </ol>
    <${Tried} tried=${data.tried} />
  `;
}

function Told({ story, now }) {
  const at = story.published_at_ms;
  if (at === null) return html`<span>at an unknown time</span>`;
  return html`<time datetime=${new Date(at).toISOString()} title="${utc(at, "seconds")} UTC">${ago(at, now)}</time>`;
}
