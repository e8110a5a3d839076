// The view "Around".
import { html } from "../lib/html.js";
import { Empty } from "../lib/ui.js";

export default function View() {
  return html`<h1 tabindex="-1">Around</h1><${Empty}>Nothing is shown here yet.<//>`;
}
