// Work: collectors, schedules, workers with their runs, jobs and providers; each a table that is asked
// for anew, and what can be done about it. What changes something asks for API_TOKEN.
import { useEffect, useRef } from "preact/hooks";
import { html } from "../lib/html.js";
import { href } from "../lib/route.js";
import { Collector, Collectors } from "./work/collectors.js";
import { Jobs } from "./work/jobs.js";
import { ProviderChain, Providers } from "./work/providers.js";
import { Run } from "./work/run.js";
import { Schedules } from "./work/schedules.js";
import { Worker } from "./work/worker.js";
import { Workers } from "./work/workers.js";

const SECTIONS = [
  { path: "schedules", title: "Schedules", all: Schedules },
  { path: "workers", title: "Workers", all: Workers, one: (name) => html`<${Worker} name=${name} key=${name} />` },
  { path: "jobs", title: "Jobs", all: Jobs },
  { path: "collectors", title: "Collectors", all: Collectors, one: (name) => html`<${Collector} name=${name} key=${name} />` },
  { path: "providers", title: "Providers", all: Providers, one: (chain) => html`<${ProviderChain} chain=${chain} key=${chain} />` },
  { path: "runs", shownAs: "workers", all: Workers, one: (id) => html`<${Run} id=${id} key=${id} />` },
];

export default function Work({ route }) {
  const [name, item] = route.parts;
  const section = SECTIONS.find(({ path }) => path === name) ?? SECTIONS[0];
  const current = section.shownAs ?? section.path;
  const nav = useRef(null);
  useEffect(() => {
    nav.current.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current]);
  return html`
    <h1 tabindex="-1">Work</h1>
    <nav class="sections" aria-label="Sections of Work" ref=${nav}>
      <ul>
        ${SECTIONS.filter(({ title }) => title).map(
          ({ path, title }) => html`
            <li key=${path}><a href=${href("work", [path])} aria-current=${path === current ? "page" : undefined}>${title}</a></li>
          `,
        )}
      </ul>
    </nav>
    <div class="work" key=${`${section.path} ${item ?? ""}`}>
      ${item !== undefined && section.one ? section.one(item) : html`<${section.all} />`}
    </div>
  `;
}
