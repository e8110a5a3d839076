// The view Assets: what each asset has over exchanges, and of one asset what each exchange has.
import { useEffect, useRef } from "preact/hooks";
import { html } from "../lib/html.js";
import { useStatus } from "../lib/status.js";
import { ErrorBox, Loading } from "../lib/ui.js";
import { AssetList } from "./assets/list.js";
import { OneAsset } from "./assets/one.js";

const LIKED = ["5m", "15m", "1h", "4h"]; // which chart a market's link leads to, if it is collected

export default function Assets({ route }) {
  const { data: status, error } = useStatus();
  const documents = status?.documents ?? null;
  const [name] = route.parts.filter((part) => !/^\.\.?$/.test(part)); // "market/.." is no asset's path
  const before = useRef(name);
  useEffect(() => {
    if (before.current === name) return;
    before.current = name;
    scrollTo(0, 0);
    document.querySelector("main h1")?.focus({ preventScroll: true });
  }, [name]);
  if (name !== undefined) {
    const timeframe = LIKED.find((each) => documents?.[each]) ?? null;
    return html`<${OneAsset} key=${name} ...${{ name, timeframe }} />`;
  }
  return html`
    <h1 tabindex="-1">Assets over exchanges</h1>
    ${documents === null && (error ? html`<${ErrorBox} error=${error} />` : html`<${Loading} what="Asking what is collected" />`)}
    ${documents !== null && html`<${AssetList} route=${route} isCollected=${Object.values(documents).some(Boolean)} />`}
  `;
}
