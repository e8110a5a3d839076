// The address of what is shown: #/market/BTCUSDT/4h?exchanges=binance is the view "market", two
// parts and one query value.
import { useEffect, useState } from "preact/hooks";

/** The address of a view: href("market", ["BTCUSDT", "4h"], {exchanges: "binance"}). */
export function href(view, parts = [], query = {}) {
  const path = [view, ...parts].map((part) => encodeURIComponent(part)).join("/");
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(given).toString();
  return `#/${path}${text && `?${text}`}`;
}

/** Reads a hash: `{view, parts, query}`; `view` is "" where the hash names none. */
export function readRoute(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view = "", ...parts] = path.split("/").filter(Boolean).map(decoded);
  return { view, parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The route that is shown now, with `set` and `go`. */
export function useRoute() {
  const [hash, setHash] = useState(() => location.hash);
  useEffect(() => {
    const look = () => setHash(location.hash);
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  const route = readRoute(hash);
  const replace = (next) => {
    history.replaceState(null, "", next);
    setHash(next);
  };
  return {
    ...route,
    /** Changes values of the query, null takes one away; the browser's history stays as it is. */
    set: (changes) => replace(href(route.view, route.parts, { ...route.query, ...changes })),
    /** Changes the parts (and the query, if given): a step in the browser's history. */
    go: (parts, query = route.query) => {
      location.hash = href(route.view, parts, query);
    },
  };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
