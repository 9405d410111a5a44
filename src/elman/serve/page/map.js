// The tree of branches as a drawing: a dot for every message, that is, for every state that is kept.

import { byId, h, svg } from "./dom.js";
import { bytes, messages, shortened } from "./format.js";

const ACROSS = 26; // pixels between columns
const DOWN = 22; // and between rows
const EDGE = 18;

export class BranchMap {
  /** `go(id)` goes to a turn. */
  constructor(go) {
    this.go = go;
    this.box = byId("map-drawing");
    this.facts = byId("map-facts");
  }

  draw(conversation, name) {
    const { tree } = conversation;
    if (!tree.turns.size) {
      this.box.replaceChildren();
      this.facts.textContent = "Every message leaves a state here. Go back to one, say something else, and the conversation forks.";
      return;
    }
    const nodes = tree.laidOut();
    const here = conversation.live?.parent ?? conversation.tip;
    const path = new Set(tree.path(here).map((turn) => turn.id));
    // A node of words stands for all replies to them: it lies on the path where one of these does.
    const walked = (node) => path.has(node.id)
      || (node.kind === "said" && tree.replies(tree.get(node.id)).some((id) => path.has(id)));
    const width = 2 * EDGE + ACROSS * Math.max(...nodes.map((node) => node.column));
    const height = 2 * EDGE + DOWN * Math.max(...nodes.map((node) => node.row));
    const held = this.box.contains(document.activeElement) ? document.activeElement.dataset.node : null;
    const lines = nodes.filter((node) => node.from);
    const order = (node) => Number(walked(node)); // the way that was gone lies on top
    lines.sort((a, b) => order(a) - order(b));
    this.box.replaceChildren(
      svg(
        "svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Tree of the conversation" },
        lines.map((node) => svg("path", { class: walked(node) ? "line walked" : "line", d: curve(node.from, node) })),
        nodes.map((node) => this.dot(node, tree, { walked: walked(node), here, name })),
      ),
    );
    this.box.querySelector(`[data-node="${CSS.escape(held ?? "")}"]`)?.focus();
    const current = this.box.querySelector(".here") ?? this.box.querySelector("[data-node]");
    current.setAttribute("tabindex", "0");
    if (!held) current.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.tell(tree, nodes.length);
  }

  tell(tree, dots) {
    const state = [...tree.turns.values()].find((turn) => turn.state)?.state;
    const many = tree.branches === 1 ? "One branch" : `${tree.branches} branches`;
    this.facts.replaceChildren(
      h("strong", {}, `${many}, ${dots.toLocaleString("en")} states kept.`),
      state ? ` Every dot is the whole memory at a message: ${bytes(state.bytes)}.` : "",
      " Select one to go on from there.",
    );
  }

  dot(node, tree, { walked, here, name }) {
    const turn = tree.get(node.id);
    const reply = node.kind === "reply";
    const isHere = reply && node.id === here;
    const [x, y] = place(node);
    const age = turn.state ? `, ${bytes(turn.state.bytes)}, ${messages(turn.state.messages - (reply ? 0 : 1))}` : "";
    const label = `${reply ? name : "You"}: ${shortened(reply ? turn.reply : turn.said)}${age}`;
    const go = () => this.go(reply ? node.id : tree.newest(node.id));
    const classes = ["dot", node.kind, walked && "walked", isHere && "here"].filter(Boolean).join(" ");
    const element = svg(
      "g",
      {
        class: classes, role: "button", tabindex: -1, "aria-label": label, "aria-current": isHere ? "true" : null,
        "data-node": `${node.kind} ${node.id}`, transform: `translate(${x} ${y})`, onclick: go,
      },
      svg("title", {}, label),
      svg("rect", { class: "area", x: -12, y: -11, width: 24, height: 22 }),
      isHere ? svg("circle", { class: "halo", r: 9 }) : null,
      svg("circle", { class: "point", r: reply ? 4.5 : 3.5 }),
    );
    element.addEventListener("keydown", (event) => this.key(event, element, node, go));
    return element;
  }

  key(event, element, node, go) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") go();
    else if (event.key.startsWith("Arrow")) this.move(element, event.key);
    else return;
    event.preventDefault();
  }

  focus() {
    this.box.querySelector(".dot[tabindex='0']")?.focus();
  }

  /** To the nearest dot that way. */
  move(element, key) {
    const at = (other) => other.transform.baseVal.consolidate().matrix;
    const from = at(element);
    const away = (other) => {
      const dx = at(other).e - from.e, dy = at(other).f - from.f;
      const [ahead, aside] = {
        ArrowUp: [-dy, dx], ArrowDown: [dy, dx], ArrowLeft: [-dx, dy], ArrowRight: [dx, dy],
      }[key];
      return ahead > 0 ? ahead + 3 * Math.abs(aside) : Infinity;
    };
    const next = [...this.box.querySelectorAll(".dot")]
      .map((other) => [away(other), other])
      .reduce((best, found) => (found[0] < best[0] ? found : best), [Infinity, null])[1];
    if (!next) return;
    element.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }
}

const place = ({ column, row }) => [EDGE + column * ACROSS, EDGE + row * DOWN];

/** Straight down within a column, a bend into another. */
function curve(from, to) {
  const [x0, y0] = place(from), [x1, y1] = place(to);
  if (x0 === x1) return `M${x0} ${y0}V${y1}`;
  const bend = y0 + DOWN;
  return `M${x0} ${y0}C${x0} ${bend - 4} ${x1} ${bend - DOWN + 4} ${x1} ${bend}V${y1}`;
}
