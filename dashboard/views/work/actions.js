// Actions on the service: what stops something is confirmed first, then the API is asked, and what it
// has answered is shown and told to screen readers. Nothing is shown as done before it has answered.
import { useRef, useState } from "preact/hooks";
import { send } from "../../lib/api.js";
import { html } from "../../lib/html.js";
import { Button, Dialog } from "../../lib/ui.js";
import { sentence } from "../sentence.js";

/**
 * The actions of a section. `act({key, method, path, body, confirm, told})` asks the API: `confirm`
 * {title, text, button}: what is asked of the user first; `told(data)`: the answer in words. It
 * returns `{data}` or `{error}`, or null if the user said no. `after()` is called after each answer.
 */
export function useActions(after = () => {}) {
  const [outcome, setOutcome] = useState(null);
  const [question, setQuestion] = useState(null);
  const [busy, setBusy] = useState(() => new Set());
  const under = useRef(new Set());

  const confirmed = (confirm) => new Promise((resolve) => setQuestion({ ...confirm, resolve }));
  const answer = (yes) => {
    question?.resolve(yes);
    setQuestion(null);
  };
  const act = async ({ key, method = "POST", path, body, confirm, told, quiet = false }) => {
    if (under.current.has(key)) return null;
    under.current.add(key);
    try {
      if (confirm && !(await confirmed(confirm))) return null;
      setBusy(new Set(under.current));
      const { data } = await send(method, path, body);
      setOutcome({ level: "ok", text: sentence(told(data)) });
      return { data };
    } catch (error) {
      if (!quiet || !Array.isArray(error.data?.detail)) {
        setOutcome({ level: "critical", text: sentence(`${nameOf(key)}: ${error.detail ?? error.message}`) });
      }
      return { error };
    } finally {
      under.current.delete(key);
      setBusy(new Set(under.current));
      after();
    }
  };
  return { act, busy, outcome, question, answer, close: () => setOutcome(null) };
}

const nameOf = (key) => key.split(" ").reverse().join(" ");

/** What the API has answered last, and the question that is open. Once in each section. */
export function Outcome({ actions: { outcome, question, answer, close } }) {
  return html`
    <div class="outcome" role="status" aria-live="polite">
      ${outcome !== null &&
      html`<div class="box box-${outcome.level === "ok" ? "good" : "critical"}">
        <p>${outcome.text}</p>
        <${Button} onClick=${close}>Close<//>
      </div>`}
    </div>
    <${Dialog} title=${question?.title ?? ""} open=${question !== null} onClose=${() => answer(false)}>
      ${question !== null &&
      html`
        <p>${question.text}</p>
        <div class="dialog-actions">
          <${Button} onClick=${() => answer(false)}>Cancel<//>
          <${Button} kind="danger" onClick=${() => answer(true)}>${question.button}<//>
        </div>
      `}
    <//>
  `;
}

/** A button of an action. It keeps the focus while the API is asked. */
export function Act({ actions, action, label, kind = "plain", of }) {
  const isBusy = actions.busy.has(action.key);
  return html`
    <${Button} kind=${kind} aria-busy=${isBusy ? "true" : undefined} onClick=${() => actions.act(action)}>
      ${label}${of && html`<span class="unseen"> ${of}</span>`}
    <//>
  `;
}
