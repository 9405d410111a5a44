// Where we are is in the address, as #CHAT/RESPONSE, so that a reload and the back button find it again.

export class Place {
  /** `open(chat, tip)` opens a chat; it says whether there is one. */
  constructor(conversation, open) {
    this.conversation = conversation;
    this.open = open;
    addEventListener("popstate", () => this.go());
  }

  get now() {
    const [chat, tip] = location.hash.slice(1).split("/").map(decoded);
    return { chat: chat || null, tip: tip || null };
  }

  /** Puts where we are into the address; another chat is a step of the browser's history. */
  keep() {
    const { tree, tip } = this.conversation;
    const hash = tree.id ? `#${tree.id}${tip ? `/${tip}` : ""}` : "";
    if (hash === location.hash) return;
    const same = tree.id === this.now.chat || !location.hash;
    history[same ? "replaceState" : "pushState"](null, "", hash || location.pathname);
  }

  /** Goes where the address says. */
  async go() {
    const { conversation } = this;
    const { chat, tip } = this.now;
    if (chat !== conversation.tree.id) {
      if (!chat || !(await this.open(chat, tip))) conversation.start(conversation.tree.model);
    } else if (tip && conversation.tree.get(tip)) {
      conversation.go(tip);
    }
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray %
  }
}
