// Radio buttons on one line.
import { html } from "../../lib/html.js";

/**
 * `options`: {value, title, isDim?, hint?}; `name`: of the radio buttons, one in a page.
 */
export function Choice({ label, name, current, options, onChange }) {
  return html`
    <fieldset class="choice">
      <legend>${label}</legend>
      ${options.map(
        ({ value, title, isDim, hint }) => html`
          <label key=${value} class=${isDim ? "is-dim" : ""} title=${hint}>
            <input type="radio" name=${name} value=${value} checked=${value === current} onChange=${() => onChange(value)} />
            <span>${title}${hint && html`<span class="unseen"> (${hint})</span>`}</span>
          </label>
        `,
      )}
    </fieldset>
  `;
}
