// Fear and greed: the index now, and its last 30 days as a chart with a table of the same.
import { useEffect, useMemo } from "preact/hooks";
import { plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { serviceNow, useNow } from "../../lib/status.js";
import { Table } from "../../lib/ui.js";
import { Age, Attributions, Block, Source, Tried, Trouble } from "./block.js";
import { exact } from "./numbers.js";

export const MOOD = "api/sentiment";
export const MOOD_EVERY_S = 300; // the API keeps a reading for 5 to 15 minutes
const HISTORY_EVERY_S = 600;
const KEPT_MS = 3000; // what was told just now is kept a moment later
const DAYS = 30;
const DAY_MS = 86_400_000;
const MOST = 5000; // readings of one answer
const USUAL = "fear_greed_altme"; // whose history is shown while nobody tells an index
const WIDTH = 600;
const HEIGHT = 150;
const EDGE = 6; // room for a dot

export function Mood() {
  const asked = usePolled(MOOD, MOOD_EVERY_S);
  const reading = asked.data?.sentiment[0] ?? null;
  const history = html`<${History} metric=${reading?.metric ?? USUAL} isTold=${reading !== null} />`;
  return html`
    <${Block} title="Fear and greed" asked=${asked} form=${history}>
      ${(data) => html`<${Now} reading=${reading} tried=${data.tried} />`}
    <//>
  `;
}

function Now({ reading, tried }) {
  const now = useNow(5);
  if (reading === null) return html`<p class="empty">Nobody has told an index.</p>`;
  const [least, most] = reading.scale;
  return html`
    <p class="mood">
      <span class="mood-value">${exact(reading.value)}</span>
      <span class="mood-label">${reading.label ?? ""}</span>
    </p>
    <meter class="mood-meter" aria-label="Fear and greed" min=${least} max=${most} value=${reading.value}>
      ${exact(reading.value)}
    </meter>
    <p class="mood-ends"><span>${exact(least)}: fear</span><span>greed: ${exact(most)}</span></p>
    <p class="note">
      <code>${reading.metric}</code>, told by <${Source} of=${reading} />, <${Age} of=${reading} now=${now} />
    </p>
    <${Tried} tried=${tried} />
    <${Attributions} of=${[reading]} />
  `;
}

/** What the service has kept of the index: it asks nobody. */
function History({ metric, isTold }) {
  const today = Math.floor(serviceNow() / DAY_MS) * DAY_MS;
  const first = today - (DAYS - 1) * DAY_MS;
  const query = new URLSearchParams({ metric, asset: "MARKET", from: first, limit: MOST });
  const asked = usePolled(`api/historical/sentiment?${query}`, HISTORY_EVERY_S);
  const days = useMemo(() => byDay(asked.data?.sentiment ?? []), [asked.data]);
  useEffect(() => {
    if (!isTold || asked.data === null || days.length > 0) return undefined;
    const timer = setTimeout(asked.reload, KEPT_MS);
    return () => clearTimeout(timer);
  }, [isTold, asked.data]);
  return html`
    <div class="mood-history">
      <h3>The last ${DAYS} days</h3>
      <${Trouble} asked=${asked} />
      ${asked.data !== null && html`<${Chart} days=${days} first=${first} />`}
    </div>
  `;
}

/** The last reading of each day (UTC), the oldest first. */
export function byDay(readings) {
  const found = new Map();
  for (const each of readings) found.set(Math.floor(each.timestamp / DAY_MS), each);
  return [...found.values()].sort((one, two) => one.timestamp - two.timestamp);
}

function Chart({ days, first }) {
  if (days.length === 0) {
    return html`<p class="empty">Nothing is kept of these days. The agent keeps each reading that it is told.</p>`;
  }
  const [least, most] = days[0].scale;
  const x = ({ timestamp }) => EDGE + ((timestamp - first) / DAY_MS / (DAYS - 1)) * (WIDTH - 2 * EDGE);
  const y = ({ value }) => EDGE + (1 - (value - least) / (most - least)) * (HEIGHT - 2 * EDGE);
  const middle = (least + most) / 2;
  return html`
    <figure class="mood-figure">
      <div class="mood-scale" aria-hidden="true">
        <span>${exact(most)}</span><span>${exact(middle)}</span><span>${exact(least)}</span>
      </div>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${described(days)}>
        ${[0, 0.25, 0.5, 0.75, 1].map((share) => {
          const at = EDGE + share * (HEIGHT - 2 * EDGE);
          return html`<line key=${share} class="mood-grid" x1="0" x2=${WIDTH} y1=${at} y2=${at} />`;
        })}
        <path class="mood-line" d=${line(days, x, y)} />
        ${days.map(
          (day) => html`<circle key=${day.timestamp} class="mood-dot" cx=${x(day)} cy=${y(day)} r="3.5">
            <title>${`${utc(day.timestamp).slice(0, 10)}: ${exact(day.value)} ${day.label ?? ""}`}</title>
          </circle>`,
        )}
      </svg>
      <div class="mood-dates" aria-hidden="true">
        <span>${utc(first).slice(0, 10)}</span><span>${utc(first + (DAYS - 1) * DAY_MS).slice(0, 10)}</span>
      </div>
    </figure>
    ${days.length < DAYS &&
    html`<p class="note">Kept of ${plural(days.length, "day")} of ${DAYS}, since ${utc(days[0].timestamp).slice(0, 10)}.</p>`}
    <details>
      <summary>The same as a table</summary>
      <${Table}
        caption="Fear and greed by day"
        columns=${COLUMNS}
        rows=${[...days].reverse()}
        rowKey=${(day) => day.timestamp}
      />
    </details>
  `;
}

const COLUMNS = [
  { key: "timestamp", title: "Day (UTC)", render: (day) => utc(day.timestamp).slice(0, 10) },
  { key: "value", title: "Index", align: "right", render: (day) => exact(day.value) },
  { key: "label", title: "In words" },
  { key: "source", title: "Told by" },
];

/** The line through the days; it breaks where a day is missing. */
function line(days, x, y) {
  return days
    .map((day, index) => {
      const before = days[index - 1];
      const isNext = before && day.timestamp - before.timestamp < 2 * DAY_MS;
      return `${isNext ? "L" : "M"}${x(day).toFixed(1)} ${y(day).toFixed(1)}`;
    })
    .join(" ");
}

function described(days) {
  const sorted = [...days].sort((one, two) => one.value - two.value);
  const told = (day) => `${exact(day.value)} on ${utc(day.timestamp).slice(0, 10)}`;
  return `${plural(days.length, "day")}: lowest ${told(sorted[0])}, highest ${told(sorted.at(-1))}, last ${told(days.at(-1))}`;
}
