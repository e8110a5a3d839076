// Texts of the API as sentences: how they begin and end.

import { capital } from "../lib/format.js";

/** A text of the API as a sentence: "providers are off" is "Providers are off." */
export function sentence(text) {
  const first = capital(String(text).trim());
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
