// A form that changes what a block asks for: its fields are a draft until they are sent, so that a
// refresh eats nothing, and what the API says of a wrong one stands at the field.
import { useState } from "preact/hooks";
import { html } from "../../lib/html.js";
import { Button, Field } from "../../lib/ui.js";
import { wrongFields } from "../wrong_fields.js";

/**
 * `fields`: {name, label, hint, among?: [[value, text], ...]}; `values`: what is asked for now, by
 * name; `onChange(values)`; `error`: of the answer, whose details name fields.
 */
export function AskedFor({ title, fields, values, onChange, error }) {
  const [draft, setDraft] = useState(values);
  const [isOpen, setOpen] = useState(false);
  const wrong = wrongFields(error);
  const set = (name) => (event) => setDraft({ ...draft, [name]: event.currentTarget.value });
  const send = (event) => {
    event.preventDefault();
    onChange(draft);
  };
  const isWrong = fields.some(({ name }) => wrong[name]);
  return html`
    <details class="asked-for" open=${isOpen || isWrong} onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>${title}</summary>
      <form onSubmit=${send} noValidate>
        ${fields.map(
          ({ name, label, hint, among }) => html`
            <${Field} key=${name} label=${label} hint=${hint} error=${wrong[name]}>
              ${(carried) =>
                among
                  ? html`<select ...${carried} value=${draft[name]} onChange=${set(name)}>
                      ${among.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
                    </select>`
                  : html`<input type="text" autocomplete="off" spellcheck=${false} ...${carried}
                      value=${draft[name]} onInput=${set(name)} />`}
            <//>
          `,
        )}
        <${Button} type="submit">Show<//>
      </form>
    </details>
  `;
}
