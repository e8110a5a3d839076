// Requests to the API that serves this page: deadlines, errors in its words, and tokens, which are
// kept in memory only. Paths are relative to the API's root: get("cache/4h?limit=2").

const DEADLINE_MS = 10_000;
const tokens = { READ_TOKEN: null, API_TOKEN: null };
const declined = new Set();
const asking = new Map();
let ask = async () => null;
let isGuarded = false;

/**
 * What went wrong with a request. `status`: 0 if there was no answer; `detail`: in words; `data`: the
 * answer's JSON, whose `detail` may name what is wrong by field; null without one.
 */
export class ApiError extends Error {
  constructor(status, detail, data = null) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.detail = detail;
    this.data = data;
  }
}

/** The URL of a path of the API; this page is at ui/ below its root, whatever comes before that. */
export const url = (path) => new URL(`../${path}`, document.baseURI);

/** Sets who asks for tokens: `async (setting, wasWrong) -> token or null`. */
export function setAsk(asks) {
  ask = asks;
}

/** Asks for this token again, although the user has closed the dialog before. */
export function askFor(setting) {
  declined.delete(setting);
  return askOnce(setting, false);
}

/** GET: `{data, status, headers}`; `data` is JSON, or text of other types. Raises ApiError. */
export function get(path, options = {}) {
  return request("GET", path, undefined, options);
}

/** POST, PUT, PATCH or DELETE with a JSON body, or none. Asks for API_TOKEN where it is needed. */
export function send(method, path, body, options = {}) {
  return request(method, path, body, options);
}

/** The headers that a GET carries now. */
export function readHeaders() {
  const token = tokens.READ_TOKEN ?? tokens.API_TOKEN;
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/** Whether a GET was refused for want of a token: a link, which carries none, would be, too. */
export const needsToken = () => isGuarded;

/** Asks for the token that a GET lacked; whether there is one now. */
export async function askToRead(wasWrong) {
  return !declined.has("READ_TOKEN") && (await askOnce("READ_TOKEN", wasWrong)) !== null;
}

async function request(method, path, body, { signal, headers, deadlineMs = DEADLINE_MS }) {
  const reads = method === "GET";
  const setting = reads ? "READ_TOKEN" : "API_TOKEN";
  for (;;) {
    const token = reads ? tokens.READ_TOKEN ?? tokens.API_TOKEN : tokens.API_TOKEN;
    const answer = await fetched(method, path, body, { signal, headers, deadlineMs, token });
    if (answer.status !== 401) return result(answer);
    if (reads) isGuarded = true;
    if (reads && declined.has(setting)) return result(answer);
    // Another request may have got a token meanwhile.
    const now = reads ? tokens.READ_TOKEN ?? tokens.API_TOKEN : tokens.API_TOKEN;
    if (now === token && (await askOnce(setting, token !== null)) === null) return result(answer);
  }
}

async function fetched(method, path, body, { signal, headers, deadlineMs, token }) {
  const deadline = AbortSignal.timeout(deadlineMs);
  const sent = { Accept: "application/json", ...headers };
  if (token !== null) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  try {
    const response = await fetch(url(path), {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      cache: "no-cache",
      credentials: "same-origin",
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  } catch (error) {
    if (signal?.aborted) throw error;
    if (deadline.aborted) throw new ApiError(0, `no answer within ${deadlineMs / 1000} s`);
    throw new ApiError(0, "the API does not answer");
  }
}

function result({ status, headers, text }) {
  const isJson = /\bjson\b/.test(headers.get("content-type") ?? "");
  let data = text;
  if (isJson) {
    try {
      data = text === "" ? null : JSON.parse(text);
    } catch {
      throw new ApiError(status, "the answer is cut off, or is not JSON");
    }
  }
  // /ready and the like answer 503 with all that they know.
  if (status >= 400) throw new ApiError(status, worded(data?.detail, status), data);
  return { data, status, headers };
}

/** FastAPI's `detail` in words: a text, or a list of what is wrong with a request. */
function worded(detail, status) {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) {
    return detail
      .map(({ loc, msg }) => [...(loc ?? []).slice(1), msg].filter(Boolean).join(": "))
      .join("; ");
  }
  return `the API answered ${status}`;
}

/** One dialog for a token, however many requests wait for it. */
function askOnce(setting, wasWrong) {
  if (!asking.has(setting)) {
    const asked = ask(setting, wasWrong)
      .then((token) => {
        if (token === null) declined.add(setting);
        // Without a new one, the one that was refused is forgotten, too.
        if (token !== null || wasWrong) tokens[setting] = token;
        return token;
      })
      .finally(() => asking.delete(setting));
    asking.set(setting, asked);
  }
  return asking.get(setting);
}
