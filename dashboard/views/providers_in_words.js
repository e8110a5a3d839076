// What the API says of providers in words: why one did not answer, and its place in the order.
const CLASSES = {
  transient: "it failed",
  rate_limited: "its rate limit is reached",
  quota_spent: "its quota is spent",
  key_rejected: "it refuses the key",
  plan_forbids: "its plan does not have this",
  geo_blocked: "it does not answer to this place",
  unknown: "it does not have this",
  caller_fault: "the request was wrong",
  bad_payload: "its answer cannot be true",
};
const SKIPPED = {
  out: "left alone for now",
  no_budget: "its limit is used up for now",
  no_key: "it needs a key",
  off: "switched off",
  no_time: "no time was left",
};
const LEVELS = {
  critical: "first choice",
  high: "second choice",
  medium: "third choice",
  low: "fourth choice",
  emergency: "last resort",
};

/** Why a resource that was tried did not answer. */
export function whyNot({ error, skipped }) {
  return classInWords(error) ?? SKIPPED[skipped] ?? skipped ?? "it did not answer";
}

/** A class of errors in words. */
export const classInWords = (name) => (name === null ? undefined : (CLASSES[name] ?? name));

/** The place in which a chain asks its members. */
export const levelName = (level) => LEVELS[level] ?? level;
