// What is around every view: links to the views, the state of the service in one line, the theme,
// tokens, and what is wrong with the connection.
import { useEffect, useRef, useState } from "preact/hooks";
import { VIEWS } from "../views/index.js";
import { announce, LiveRegion } from "./announce.js";
import { Foot } from "./foot.js";
import { age } from "./format.js";
import { Guard } from "./guard.js";
import { html } from "./html.js";
import { href, useRoute } from "./route.js";
import { useNow, useStatus } from "./status.js";
import { toggleTheme, useTheme } from "./theme.js";
import { TokenDialog } from "./token_dialog.js";
import { Badge, Button, ErrorBox, Loading } from "./ui.js";

export function Shell() {
  const route = useRoute();
  const view = VIEWS.find(({ path }) => path === route.view) ?? VIEWS[0];
  const main = useRef(null);
  const skip = (event) => {
    event.preventDefault(); // a hash would be another view
    main.current.focus();
  };
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header class="top">
      <a class="brand" href=${href(VIEWS[0].path)}>Perpcache</a>
      <nav aria-label="Views">
        <ul>
          ${VIEWS.map(
            ({ path, title }) => html`
              <li key=${path}>
                <a href=${href(path)} aria-current=${path === view.path ? "page" : undefined}>${title}</a>
              </li>
            `,
          )}
        </ul>
      </nav>
      <div class="top-side">
        <${State} />
        <${ThemeButton} />
      </div>
    </header>
    <${Connection} />
    <main ref=${main} id="main" tabindex="-1"><${Guard} of=${location.hash} title=${view.title}><${View} view=${view} route=${route} /><//></main>
    <${Foot} />
    <${LiveRegion} />
    <${TokenDialog} />
  `;
}

/** A view, loaded when it is shown first. Going to another one moves the focus to its heading. */
function View({ view, route }) {
  const [loaded, setLoaded] = useState({});
  const shownBefore = useRef(null);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    document.title = `${view.title} · Perpcache`;
    let isWanted = true;
    view.load().then(
      (module) => isWanted && setLoaded({ path: view.path, Component: module.default }),
      (error) => isWanted && setLoaded({ path: view.path, error }),
    );
    return () => {
      isWanted = false;
    };
  }, [view.path, tries]);
  useEffect(() => {
    if (loaded.path !== view.path || !loaded.Component) return;
    if (shownBefore.current !== null && shownBefore.current !== view.path) {
      scrollTo(0, 0);
      document.querySelector("main h1")?.focus({ preventScroll: true });
      announce(view.title);
    }
    shownBefore.current = view.path;
  }, [loaded, view.path]);
  if (loaded.path !== view.path) return html`<${Loading} what=${view.title} />`;
  if (loaded.error) {
    const again = () => location.reload(); // a browser keeps a failed module
    return html`<h1>${view.title}</h1><${ErrorBox} error=${{ detail: "the API does not answer" }} retry=${again} />`;
  }
  return html`<${loaded.Component} key=${view.path} route=${route} />`;
}

const STATES = {
  ready: ["ok", "Ready"],
  degraded: ["warning", "Degraded"],
  unavailable: ["critical", "Unavailable"],
};

/** The state of the service, from every view. */
function State() {
  const { data, error } = useStatus();
  if (data === null) return null;
  const [level, text] = error ? ["off", "Not connected"] : (STATES[data.status] ?? ["info", data.status]);
  return html`<a class="state" href=${href("now")}><${Badge} level=${level}>${text}<//></a>`;
}

/** A banner while the API is away: what is shown stays, with its age. */
function Connection() {
  const { error, at, data, reload } = useStatus();
  useNow();
  const isAway = error !== null && error.status !== 401;
  const wasAway = useRef(false);
  useEffect(() => {
    if (isAway) announce("The API does not answer.");
    else if (wasAway.current) announce("The API answers again.");
    wasAway.current = isAway;
  }, [isAway]);
  if (error === null) return null;
  if (!isAway) return html`
      <section class="banner" aria-label="Connection">
        <${ErrorBox} error=${error} what="The API wants a token" retry=${reload} />
      </section>
    `;
  return html`
    <section class="banner banner-critical" aria-label="Connection">
      <p>
        <strong>The API does not answer as it should:</strong> ${error.detail}.${" "}
        ${data ? html`What you see is ${age((Date.now() - at) / 1000)} old. ` : ""}It is asked again every
        few seconds, and the page goes on by itself.
      </p>
      <${Button} onClick=${reload}>Ask now<//>
    </section>
  `;
}

function ThemeButton() {
  const other = useTheme() === "dark" ? "light" : "dark";
  return html`<button type="button" class="button button-plain theme" onClick=${toggleTheme}>${other === "dark" ? "Dark" : "Light"}<span class="unseen"> colours</span></button>`;
}
