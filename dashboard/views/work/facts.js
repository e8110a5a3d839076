// Facts about one thing: names and values as a list; those that are not known are left out.
import { html } from "../../lib/html.js";

/** `facts`: [name, value] pairs; null, undefined and "" are not shown. */
export function Facts({ facts }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`
    <dl class="figures">
      ${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}

/** JSON as text, for eyes: short on one line, else indented. */
export function Json({ value }) {
  const line = JSON.stringify(value);
  if (line === undefined) return null;
  return line.length <= 80 ? html`<code>${line}</code>` : html`<pre class="json" tabindex="0">${JSON.stringify(value, null, 2)}</pre>`;
}
