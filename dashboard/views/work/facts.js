// Facts about one thing: names and values as a list; those that are not known are left out.
import { html } from "../../lib/html.js";
import { resultOf } from "./words.js";

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

/** What a run has brought, in a few words; nothing where it brought nothing. */
export function Result({ of }) {
  const text = resultOf(of);
  return text === "" ? null : html`<span class="result">${text}</span>`;
}
