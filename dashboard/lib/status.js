// GET /status, which most of the page shows, and the service's clock.
import { useEffect, useState } from "preact/hooks";
import { usePolled } from "./polled.js";

const EVERY_S = 3;
let aheadMs = 0;

/** `{data, error, at, reload}` of GET /status, every 3 s. */
export function useStatus() {
  const status = usePolled("status", EVERY_S);
  if (status.data !== null && status.at !== null) aheadMs = status.data.at - status.at;
  return status;
}

/** Now, by the service's clock (ms): ages do not depend on the clock of the user's machine. */
export const serviceNow = () => Date.now() + aheadMs;

/** Now, by the service's clock, renewed every so many seconds while the page is seen. */
export function useNow(seconds = 1) {
  const [now, setNow] = useState(serviceNow);
  useEffect(() => {
    const tick = () => {
      if (!document.hidden) setNow(serviceNow());
    };
    tick();
    const timer = setInterval(tick, seconds * 1000);
    document.addEventListener("visibilitychange", tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", tick);
    };
  }, [seconds]);
  return now;
}
