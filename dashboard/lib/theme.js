// Dark and light: what the system wants, or what the user has chosen, and the colours of style.css
// for what is drawn.
import { useEffect, useState } from "preact/hooks";

const KEY = "perpcache-theme";
const wantsDark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();

/** "dark" or "light": what is shown now. */
export function theme() {
  return document.documentElement.dataset.theme ?? (wantsDark.matches ? "dark" : "light");
}

/** Shows the other theme. It is kept, unless it is the system's. */
export function toggleTheme() {
  const next = theme() === "dark" ? "light" : "dark";
  const isSystems = next === (wantsDark.matches ? "dark" : "light");
  try {
    if (isSystems) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // A browser that keeps nothing: it holds until the page is left.
  }
  if (isSystems) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  changed();
}

/** The theme that is shown; components that use it are rendered anew when it changes. */
export function useTheme() {
  const [shown, setShown] = useState(theme);
  useEffect(() => {
    const look = () => setShown(theme());
    listeners.add(look);
    look();
    return () => listeners.delete(look);
  }, []);
  return shown;
}

/** A colour of style.css as rgb(…): color("--accent"). */
export function color(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function changed() {
  for (const listener of listeners) listener();
}
wantsDark.addEventListener("change", changed);
