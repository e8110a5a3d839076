// The one table of views: the first is shown where the address names none.
export const VIEWS = [
  { path: "now", title: "Now", load: () => import("./now.js") },
  { path: "market", title: "Market", load: () => import("./market.js") },
  { path: "markets", title: "Whole market", load: () => import("./markets.js") },
  { path: "assets", title: "Assets", load: () => import("./assets.js") },
  { path: "around", title: "Around", load: () => import("./around.js") },
  { path: "work", title: "Work", load: () => import("./work.js") },
];
