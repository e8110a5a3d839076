// The colours that the user has chosen: applied before the first paint, so that nothing flashes.
(() => {
  try {
    const chosen = localStorage.getItem("perpcache-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch {
    // A browser that keeps nothing follows the system.
  }
})();
