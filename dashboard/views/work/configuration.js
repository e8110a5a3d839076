// Values of the configuration of a worker, or those that all workers share: set and deleted one by
// one. Secret ones are never shown.
import { useState } from "preact/hooks";
import { html } from "../../lib/html.js";
import { usePolled } from "../../lib/polled.js";
import { Badge, Button, Card, ErrorBox, Field } from "../../lib/ui.js";
import { wrongFields } from "../wrong_fields.js";
import { Act, Outcome, useActions } from "./actions.js";

const EVERY_S = 10;
const LEVELS = {
  own: "set for this worker",
  shared: "shared by all workers",
  environment: "from the environment",
  default: "the code's default",
  missing: "has no value",
};

const pathOf = (worker, key) =>
  `api/config/${worker === null ? "" : `${encodeURIComponent(worker)}/`}${encodeURIComponent(key)}`;

/** `worker`: its name, with its `values`; null: the shared values, which are asked for here. */
export function Configuration({ worker, values, after }) {
  const shared = usePolled(worker === null ? "api/config" : null, EVERY_S);
  const actions = useActions(after ?? shared.reload);
  const [isAdding, setAdding] = useState(false);
  const shown = values ?? shared.data?.configuration ?? [];
  const title = worker === null ? "Values that workers share" : "Configuration";
  const note = "What is set counts for runs that begin within a second or later, on every host.";
  return html`
    <${Card} title=${title} note=${note}>
      <${Outcome} actions=${actions} />
      <${ErrorBox} error=${shared.error} retry=${shared.reload} what="They cannot be read" />
      ${shown.length === 0 && html`<p class="empty">${worker === null ? "None is set." : "It declares no keys."}</p>`}
      ${shown.map((each) => html`<${Value} key=${each.key} worker=${worker} of=${each} actions=${actions} />`)}
      ${isAdding
        ? html`<${Another} worker=${worker} actions=${actions} onClose=${() => setAdding(false)} />`
        : html`<p><${Button} onClick=${() => setAdding(true)}>Set another key<//></p>`}
    <//>
  `;
}

function Value({ worker, of, actions }) {
  const { key, secret, level } = of;
  const [draft, setDraft] = useState(null);
  const [wrong, setWrong] = useState(null);
  const now = secret ? "" : textOf(of.value);
  const set = async (event) => {
    event.preventDefault();
    const answered = await put(actions, worker, key, valueOf(draft, of));
    if (answered?.data) setDraft(null);
    setWrong(answered?.error ? (wrongFields(answered.error).value ?? answered.error.detail) : null);
  };
  const isSet = level === (worker === null ? "shared" : "own");
  const unset = {
    ...{ key: `${key} delete`, method: "DELETE", path: pathOf(worker, key) },
    confirm: { title: `Delete the value of ${key}?`, text: "What is shared, in the environment or declared counts again.", button: `Delete ${key}` },
    told: () => `${key} is not set here any more`,
  };
  const hint = [LEVELS[level] ?? level, of.required && "required", draft !== null && !secret && `now ${now || "empty"}`, of.changed_by && `by ${of.changed_by}`]
    .filter(Boolean)
    .join(", ");
  const edit = (event) => setDraft(event.currentTarget.value === now ? null : event.currentTarget.value);
  return html`
    <form class="row" onSubmit=${set} noValidate>
      <${Field} label=${key} hint=${hint} error=${wrong ?? of.problem}>
        ${(carried) => html`<${Input} of=${of} carried=${carried} value=${draft ?? now} onEdit=${edit} />`}
      <//>
      <div class="actions">
        <${Button} type="submit" disabled=${draft === null}>Set<span class="unseen"> ${key}</span><//>
        ${isSet && html`<${Act} actions=${actions} action=${unset} label="Delete" of=${key} />`}
        ${secret && html`<${Badge} level="info">secret<//>`}
      </div>
    </form>
  `;
}

function Input({ of, carried, value, onEdit }) {
  if (typeof of.value === "boolean") {
    return html`<select ...${carried} value=${value} onChange=${onEdit}>
      <option value="true">true</option><option value="false">false</option>
    </select>`;
  }
  if (of.value !== null && typeof of.value === "object") {
    return html`<textarea rows="3" spellcheck=${false} ...${carried} value=${value} onInput=${onEdit} />`;
  }
  return html`<input type=${of.secret ? "password" : "text"} autocomplete="off" spellcheck=${false}
    placeholder=${of.secret ? "***" : undefined} ...${carried} value=${value} onInput=${onEdit} />`;
}

function Another({ worker, actions, onClose }) {
  const [draft, setDraft] = useState({ key: "", value: "" });
  const [wrong, setWrong] = useState({});
  const edit = (name) => (event) => setDraft({ ...draft, [name]: event.currentTarget.value });
  const set = async (event) => {
    event.preventDefault();
    const key = draft.key.trim();
    if (key === "") return setWrong({ key: "write a key, such as url" });
    const answered = await put(actions, worker, key, parsed(draft.value));
    if (answered?.data) onClose();
    else if (answered?.error) {
      const found = wrongFields(answered.error);
      setWrong(found.value ? { value: found.value } : { key: answered.error.detail });
    }
    return undefined;
  };
  return html`
    <form class="row" onSubmit=${set} noValidate>
      <${Field} label="Key" error=${wrong.key}>
        ${(carried) => html`<input type="text" autocomplete="off" spellcheck=${false} maxlength="100" ...${carried} value=${draft.key} onInput=${edit("key")} />`}
      <//>
      <${Field} label="Value" hint="text; what reads as JSON is sent as that" error=${wrong.value}>
        ${(carried) => html`<input type="text" autocomplete="off" spellcheck=${false} ...${carried} value=${draft.value} onInput=${edit("value")} />`}
      <//>
      <div class="actions">
        <${Button} type="submit" kind="primary">Set<//>
        <${Button} onClick=${onClose}>Leave it<//>
      </div>
    </form>
  `;
}

const put = (actions, worker, key, value) =>
  actions.act({
    ...{ key: `${key} set`, method: "PUT", path: pathOf(worker, key), body: { value }, quiet: true },
    told: (now) => `${now.key} is ${now.secret ? "set" : textOf(now.value)}`,
  });

const textOf = (value) =>
  value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);

/** What is typed, in the type of the value before: texts stay texts. */
function valueOf(text, { value, secret }) {
  return secret || typeof value === "string" ? text : parsed(text);
}

/** JSON if the text is any, else the text: the API says what is allowed. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
