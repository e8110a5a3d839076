// The form that changes when, where and how a worker runs. A field that somebody edits stays as it is
// written while the page is refreshed; only edited fields are sent.
import { useState } from "preact/hooks";
import { announce } from "../../lib/announce.js";
import { utc } from "../../lib/format.js";
import { html } from "../../lib/html.js";
import { Button, Card, Field } from "../../lib/ui.js";
import { wrongFields } from "../wrong_fields.js";
import { Act } from "./actions.js";
import { workerPath } from "./worker_actions.js";

const FIELDS = [
  { name: "cron", label: "Cron expression", hint: "five fields, such as 0 15 * * 1-5; it ends a period" },
  { name: "every_s", label: "Period (seconds)", hint: "aligned to the epoch; it ends a cron expression", number: true },
  { name: "offset_s", label: "Seconds after the period", number: true },
  { name: "tz", label: "Time zone", hint: "such as UTC or Europe/Prague" },
  { name: "on_missed", label: "Missed firings", among: [["one", "made up by one run"], ["skip", "left out"]] },
  { name: "timeout_s", label: "Longest time of an attempt (seconds)", number: true },
  { name: "max_attempts", label: "Attempts", number: true },
  { name: "queue", label: "Queue", hint: "hosts that serve it run the worker" },
  { name: "egress", label: "Address", hint: "\"any\", or the EGRESS_ID of the hosts that may run it" },
];

export function ScheduleForm({ worker, actions }) {
  const [draft, setDraft] = useState({});
  const [wrong, setWrong] = useState({});
  const { name, declared, overridden } = worker;
  const fields = worker.kind === "schedule" ? FIELDS : FIELDS.filter((field) => field.name === "egress");
  const edited = Object.keys(draft);
  const set = (field) => (event) => {
    const { value } = event.currentTarget;
    // Written back as it was, it is no edit.
    const { [field.name]: _, ...others } = draft;
    setWrong(({ [field.name]: _wrong, ...others }) => others);
    setDraft(value === textOf(worker[field.name]) ? others : { ...others, [field.name]: value });
  };
  const send = async (event) => {
    event.preventDefault();
    const body = bodyOf(fields, draft);
    const answered = await actions.act({
      ...{ key: `${name} change`, method: "PATCH", path: workerPath(name), body, quiet: true },
      told: (now) => `${name} is changed${now.next_runs.length > 0 ? `; it fires next at ${utc(now.next_runs[0], "seconds")} UTC` : ""}`,
    });
    if (answered?.data) {
      setDraft({});
      setWrong({});
    } else if (answered?.error) {
      const found = wrongFields(answered.error);
      setWrong(found);
      announce(Object.entries(found).map(([field, text]) => `${field}: ${text}`).join(". "));
    }
  };
  const reset = {
    ...{ key: `${name} reset`, method: "DELETE", path: workerPath(name, "/override") },
    confirm: { title: `Undo all changes of ${name}?`, text: `It goes back to what its code says: ${overridden.join(", ")}.`, button: "Undo all changes" },
    told: () => `${name} is as its code says`,
  };
  const other = Object.entries(wrong).filter(([field]) => !fields.some((each) => each.name === field));
  return html`
    <${Card}
      title="When and where it runs"
      actions=${overridden.length > 0 && html`<${Act} actions=${actions} action=${reset} label="Undo all changes" />`}
    >
      <form onSubmit=${send} noValidate class="form">
        ${other.map(([field, text]) => html`<p class="field-error" key=${field}>${field}: ${text}</p>`)}
        <div class="fields">
          ${fields.map((field) => {
            const isEdited = field.name in draft;
            const carriedValue = isEdited ? draft[field.name] : textOf(worker[field.name]);
            const hint = [field.hint, overridden.includes(field.name) && `the code says ${textOf(declared[field.name]) || "nothing"}`, isEdited && `now ${textOf(worker[field.name]) || "not set"}`]
              .filter(Boolean)
              .join("; ");
            return html`
              <${Field} key=${field.name} label=${field.label} hint=${hint} error=${wrong[field.name]}>
                ${(carried) =>
                  field.among
                    ? html`<select ...${carried} name=${field.name} value=${carriedValue} onChange=${set(field)}>
                        ${field.among.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
                      </select>`
                    : html`<input type="text" autocomplete="off" spellcheck=${false} inputmode=${field.number ? "numeric" : undefined}
                        ...${carried} name=${field.name} value=${carriedValue} onInput=${set(field)} />`}
              <//>
            `;
          })}
        </div>
        <div class="actions">
          <${Button} type="submit" kind="primary" disabled=${edited.length === 0}>Change<//>
          ${edited.length > 0 && html`<${Button} onClick=${() => (setDraft({}), setWrong({}))}>Leave it as it is<//>`}
          ${edited.length > 0 && html`<span class="muted">edited: ${edited.join(", ")}</span>`}
        </div>
      </form>
    <//>
  `;
}

const textOf = (value) => (value === null || value === undefined ? "" : String(value));

/** What is sent: the edited fields; numbers as numbers where they are any, else as they are written,
 * so that the API says what is allowed. A field that is emptied because its counterpart is set is
 * not sent: the API ends it. */
function bodyOf(fields, draft) {
  const body = {};
  for (const { name, number: isNumber } of fields) {
    if (!(name in draft)) continue;
    const text = draft[name].trim();
    const counterpart = { cron: "every_s", every_s: "cron" }[name];
    if (text === "" && counterpart && draft[counterpart]?.trim()) continue;
    body[name] = isNumber && text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  }
  return body;
}
