// Elements by code. Text only ever becomes text nodes: nothing that was said is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `on...` properties listen, `true` is an empty attribute, false and null are left out. */
export function h(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

/** The same, for drawings. */
export function svg(name, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, name), properties, children);
}

function filled(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Has a screen reader say something once, whole. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Lets a text box be as high as what is in it; CSS bounds it. */
export function fit(box) {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
}
