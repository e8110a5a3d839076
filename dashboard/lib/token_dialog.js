// The dialog that asks for a token when the API wants one. It is kept in memory only, and sent to
// the API that serves this page only.
import { useEffect, useRef, useState } from "preact/hooks";
import { setAsk } from "./api.js";
import { html } from "./html.js";
import { Button, Dialog, Field } from "./ui.js";

const WHY = {
  READ_TOKEN: "This service shows its data only with its READ_TOKEN (or API_TOKEN).",
  API_TOKEN: "This changes something: the service wants its API_TOKEN for it.",
};

// What a header cannot carry: it would fail before it is sent.
const UNSENDABLE = /[^\x20-\x7e\xa0-\xff]/;

export function TokenDialog() {
  const [asked, setAsked] = useState(null);
  const [isUnsendable, setUnsendable] = useState(false);
  const input = useRef(null);
  useEffect(() => {
    let last = Promise.resolve();
    setAsk((setting, wasWrong) => {
      // One after another: there is one dialog.
      const answer = last.then(() => new Promise((resolve) => setAsked({ setting, wasWrong, resolve })));
      last = answer;
      return answer;
    });
  }, []);
  const answer = (token) => {
    asked.resolve(token);
    setAsked(null);
    setUnsendable(false);
  };
  const submit = (event) => {
    event.preventDefault();
    const token = input.current.value.trim();
    setUnsendable(UNSENDABLE.test(token));
    if (token !== "" && !UNSENDABLE.test(token)) answer(token);
  };
  return html`
    <${Dialog} title="Token" open=${asked !== null} onClose=${() => answer(null)}>
      ${asked &&
      html`
        <form onSubmit=${submit}>
          <p>${WHY[asked.setting]}</p>
          <${Field}
            label=${asked.setting}
            hint="Kept in this page's memory only: it is gone when the page is closed or loaded anew."
            error=${isUnsendable ? "A token cannot have these letters. Is another keyboard layout on?" : asked.wasWrong ? "The service did not take the last one." : null}
          >
            ${(carried) =>
              html`<input ...${carried} ref=${input} type="password" autocomplete="off" required />`}
          <//>
          <div class="dialog-actions">
            <${Button} onClick=${() => answer(null)}>Cancel<//>
            <${Button} kind="primary" type="submit">Go on<//>
          </div>
        </form>
      `}
    <//>
  `;
}
