// Light or dark: as the system has it, until somebody chooses here. theme.js applies the choice.

import { byId } from "./dom.js";
import { icon } from "./icons.js";
import { always } from "./storage.js";

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const otherTheme = () =>
  (document.documentElement.dataset.theme ?? (systemIsDark.matches ? "dark" : "light")) === "dark" ? "light" : "dark";

export function turnTheme() {
  const theme = otherTheme();
  document.documentElement.dataset.theme = theme;
  always.set("theme", theme);
  drawTheme();
}

export function drawTheme() {
  const [drawing, name] = otherTheme() === "light" ? ["sun", "Light"] : ["moon", "Dark"];
  byId("theme").replaceChildren(icon(drawing));
  byId("theme").title = `${name} (Alt+T)`;
  byId("theme").setAttribute("aria-label", name);
}

systemIsDark.addEventListener("change", drawTheme);
