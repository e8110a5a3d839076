/** What the API says is wrong with a request, in words, by the last name of each place; `error`: an
 * ApiError of a 422, or anything else: {}. */
export function wrongFields(error) {
  const details = error?.data?.detail;
  if (!Array.isArray(details)) return {};
  const found = {};
  for (const { loc, msg } of details) {
    const name = String(loc?.at(-1) ?? "");
    const text = msg.replace(/^Value error, /, "");
    found[name] = found[name] ? `${found[name]}; ${text}` : text;
  }
  return found;
}
