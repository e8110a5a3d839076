// A value on the colour of its class in the scale.
import { html } from "../../lib/html.js";
import { plain } from "../market/numbers.js";
import { classNameOf, classOf, signed } from "./scale.js";

/** Its sign says the same as the colour; null is a dash. `measure`: one of MEASURES. */
export function coloured(value, { limits, digits }) {
  if (value === null) return html`<span title="not known">–</span>`;
  return html`<data value=${plain(value)} class="heat-chip ${classNameOf(classOf(value, limits))}">${signed(value, digits)}</data>`;
}
