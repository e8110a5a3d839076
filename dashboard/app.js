// Starts the page.
import { render } from "preact";
import { html } from "./lib/html.js";
import { Shell } from "./lib/shell.js";

render(html`<${Shell} />`, document.getElementById("app"));
