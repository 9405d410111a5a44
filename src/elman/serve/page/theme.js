// Before anything is drawn: the look that was chosen here, else the system's. Not a module, so that
// the page does not flash in the other one.
"use strict";
try {
  const chosen = localStorage.getItem("elman.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is blocked: the system's.
}
