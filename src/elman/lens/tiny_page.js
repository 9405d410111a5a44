"use strict";
(() => {
  const root = document.documentElement, nav = document.querySelector("nav");
  const buttons = [...nav.querySelectorAll("button")];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let phase = 0;
  function go(to) {
    phase = Math.max(0, Math.min(7, to));
    if (phase) root.dataset.phase = phase; else delete root.dataset.phase;
    buttons.forEach((b, n) => b.setAttribute("aria-pressed", String(n === phase)));
    const target = phase > 6 ? document.getElementById("lab")
      : phase > 3 ? document.getElementById("phase" + phase) : phase ? document.getElementById("network") : root;
    target.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: "start" });
  }
  buttons.forEach((b, n) => b.addEventListener("click", () => go(n)));
  addEventListener("keydown", (e) => {
    if (e.target.closest && e.target.closest("input, select")) return; // its own keys
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey) return;
    const box = e.target.closest && e.target.closest(".scroll");
    const scrolls = box && box.scrollWidth > box.clientWidth;
    if (e.key >= "0" && e.key <= "7" && e.key.length === 1) go(Number(e.key));
    else if (e.key === "ArrowRight" && !scrolls) go(phase + 1);
    else if (e.key === "ArrowLeft" && !scrolls && phase) go(phase - 1);
    else return;
    e.preventDefault();
  });
  nav.hidden = false;
  buttons[0].setAttribute("aria-pressed", "true");
  const first = Number(location.hash.slice(1));
  if (first >= 1 && first <= 7) go(first);
})();
