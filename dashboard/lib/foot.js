// The foot of every view: links to what the API tells besides, and where the charts come from. What a
// token guards a link cannot open, as a browser sends none: it is read here, and shown in a dialog.
import { useEffect, useState } from "preact/hooks";
import { get, needsToken, url } from "./api.js";
import { html } from "./html.js";
import { useStatus } from "./status.js";
import { Button, Dialog, ErrorBox, Loading } from "./ui.js";

const RAW = [
  { path: "status", title: "Status as JSON" },
  { path: "metrics", title: "Metrics" },
];

// This page stays open: with it, the token would be gone.
const ELSEWHERE = { target: "_blank", rel: "noopener noreferrer" };

export function Foot() {
  const { data } = useStatus();
  const [shown, setShown] = useState(null);
  const isGuarded = needsToken();
  return html`
    <footer class="foot">
      <p>
        Perpcache ${data?.version ?? ""} · <a href="../docs" ...${isGuarded ? ELSEWHERE : {}}>API</a>
        ${RAW.map(
          (each) => html`${" · "}${isGuarded
            ? html`<button type="button" class="foot-link" onClick=${() => setShown(each)}>${each.title}</button>`
            : html`<a href=${url(each.path)}>${each.title}</a>`}`,
        )}
      </p>
      <p>
        Charts: TradingView Lightweight Charts™, Copyright (с) 2025 TradingView, Inc.${" "}
        <a href="https://www.tradingview.com/" rel="noopener noreferrer">https://www.tradingview.com/</a> ·${" "}
        <a href="vendor/licences/NOTICE.txt">Notice and licences</a>
      </p>
      <${Dialog} title=${shown?.title ?? ""} open=${shown !== null} onClose=${() => setShown(null)} wide>
        ${shown !== null && html`<${Raw} path=${shown.path} onClose=${() => setShown(null)} />`}
      <//>
    </footer>
  `;
}

/** An answer of the API as text. */
function Raw({ path, onClose }) {
  const [{ text, error }, setTold] = useState({});
  const [tries, setTries] = useState(0);
  useEffect(() => {
    const giving = new AbortController();
    setTold({});
    get(path, { signal: giving.signal }).then(
      ({ data }) => setTold({ text: typeof data === "string" ? data : JSON.stringify(data, null, 2) }),
      (failed) => giving.signal.aborted || setTold({ error: failed }),
    );
    return () => giving.abort();
  }, [path, tries]);
  return html`
    <${ErrorBox} error=${error} retry=${() => setTries(tries + 1)} />
    ${text === undefined && !error && html`<${Loading} what="Asking" />`}
    ${text !== undefined && html`<pre class="raw" tabindex="0">${text}</pre>`}
    <div class="dialog-actions"><${Button} onClick=${onClose}>Close<//></div>
  `;
}
