// Templates: html`<div>…</div>` makes elements of preact.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
