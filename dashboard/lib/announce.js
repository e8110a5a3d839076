// What screen readers are told of changes: one polite live region for the page.
import { useEffect, useState } from "preact/hooks";
import { html } from "./html.js";

let tell = () => {};

/** Tells users of screen readers this text once they have heard what they listen to. */
export const announce = (text) => tell(text);

/** The live region; the shell has it once. */
export function LiveRegion() {
  const [text, setText] = useState("");
  useEffect(() => {
    tell = setText;
    return () => {
      tell = () => {};
    };
  }, []);
  return html`<div class="unseen" role="status" aria-live="polite">${text}</div>`;
}
