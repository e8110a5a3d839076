// A number on the page: all its digits for the reader, and the document's own for who copies it.
import { html } from "../../lib/html.js";
import { exact, NONE, plain } from "./numbers.js";

/** `decimals`: at least so many; null is a dash that says "unknown". */
export function Value({ value, decimals = 0 }) {
  if (value === null || value === undefined) return html`<span title="unknown">${NONE}</span>`;
  return html`<data value=${plain(value)}>${exact(value, decimals)}</data>`;
}
