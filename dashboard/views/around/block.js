// One block of Around: what it shows, why it shows nothing, who answered and how old that is. A
// block that fails says so in words, and leaves the others alone.
import { Component } from "preact";
import { ago, age, plural, utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { useNow } from "../../lib/status.js";
import { Badge, Button, Card, ErrorBox, Loading } from "../../lib/ui.js";
import { levelName, whyNot } from "../providers_in_words.js";
import { sentence } from "../sentence.js";

/** A block that survives an error of its own: the others go on. */
export class Guard extends Component {
  state = { error: null };

  static getDerivedStateFromError(error) {
    return { error };
  }

  render({ title, children }, { error }) {
    if (error === null) return children;
    const again = () => this.setState({ error: null });
    return html`
      <${Card} title=${title}>
        <${ErrorBox} error=${{ detail: String(error.message ?? error) }} retry=${again} />
      <//>
    `;
  }
}

/**
 * A card over one or several answers. `asked`: of usePolled, or null while nothing is asked;
 * `children`: what draws its data; `form`: what changes what is asked for.
 */
export function Block({ title, note, asked, form, wide, children }) {
  const { data, error, reload } = asked;
  return html`
    <${Card} title=${title} note=${note} wide=${wide}>
      <${Trouble} asked=${asked} />
      ${data !== null && children(data)}
      ${data === null && error === null && html`<${Loading} what="Asking" />`}
      ${data === null && error !== null && error.status !== 404 && error.status !== 422 &&
      html`<p><${Button} onClick=${reload}>Ask again<//></p>`}
      ${form}
    <//>
  `;
}

/** Whether an error says that PROVIDERS=off. */
export const isOff = (error) => error?.status === 404 && /^providers are off/.test(error.detail);

/** What is wrong with an answer, and how old the one is that stays. */
export function Trouble({ asked: { data, error, at } }) {
  useNow(5);
  if (error === null) return null;
  if (isOff(error)) return html`<p class="empty">${sentence(error.detail)}</p>`;
  const old = data === null ? "" : ` What is shown was told ${age((Date.now() - at) / 1000)} ago.`;
  return html`
    <div class="box ${data === null ? "box-critical" : "box-warning"}">
      <p>${sentence(error.detail)}${old}</p>
      <${Tried} tried=${error.data?.tried ?? []} />
    </div>
  `;
}

/** Who was asked and did not answer, and why, behind a line that counts them. */
export function Tried({ tried }) {
  if (tried.length === 0) return null;
  return html`
    <details class="tried">
      <summary>${plural(tried.length, "source")} did not answer</summary>
      <ul>
        ${tried.map(
          (each) => html`
            <li key=${each.resource}><code>${each.resource}</code>: ${whyNot(each)}.${" "}
              <span class="muted">${each.message}</span></li>
          `,
        )}
      </ul>
    </details>
  `;
}

/** Who answered, and in which place of the order. */
export function Source({ of }) {
  return html`<span class="source" title=${`${of.resource}: ${levelName(of.level)}`}>${of.provider}</span>`;
}

/** Who answered, in the words that it wants to be shown beside its data. */
export function Attributed({ of }) {
  const { attribution } = of;
  if (!attribution?.text) return html`<${Source} of=${of} />`;
  return html`<span title=${`${of.resource}: ${levelName(of.level)}`}><${OutLink} url=${attribution.url}>${attribution.text}<//></span>`;
}

/** How old an answer is, with a mark where nobody has told a newer one. */
export function Age({ of, now }) {
  const sinceMs = of.as_of_ms ?? of.fetched_at_ms;
  const title = `${of.as_of_ms === null ? "told" : "as of"} ${utc(sinceMs, "seconds")} UTC`;
  return html`
    <span class="age" title=${title}>${ago(sinceMs, now)}</span>
    ${of.stale_since !== null &&
    html`${" "}<${Badge} level="warning" title=${`since ${utc(of.stale_since, "seconds")} UTC`}>stale<//>`}
  `;
}

/** What providers want to be shown beside their data, each once. */
export function Attributions({ of }) {
  const known = new Map();
  for (const { attribution } of of) {
    if (attribution) known.set(attribution.text ?? attribution.url, attribution.url);
  }
  if (known.size === 0) return null;
  return html`
    <p class="note attributions">
      ${[...known].map(([text, url]) => html`<span key=${text}><${OutLink} url=${url}>${text}<//></span>`)}
    </p>
  `;
}

/** A link to elsewhere: of http and https alone, else the text without a link. */
export function OutLink({ url, children }) {
  const safe = outside(url);
  if (safe === null) return children;
  return html`<a href=${safe} target="_blank" rel="noopener noreferrer">${children}</a>`;
}

/** The address if it leads to the web, else null. */
export function outside(url) {
  try {
    const { protocol, href } = new URL(url);
    return protocol === "http:" || protocol === "https:" ? href : null;
  } catch {
    return null;
  }
}
