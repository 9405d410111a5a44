// A conversation as a tree of turns. A turn is what was said and the reply to it: one response of
// the API. Two turns from one parent are branches; its id is that of the state it left.

/** A response of the API as a turn. */
export function turnOf(response, parent = response.previous_response_id ?? null) {
  return {
    id: response.id,
    parent,
    said: textOf(response.input),
    reply: textOf(response.output),
    status: response.status ?? "completed",
    at: response.created_at ?? 0,
    state: response.state ?? response.elman?.state ?? null, // {bytes, messages}
  };
}

/** The text of an input or output: a string, or items with string or part contents. */
export function textOf(items) {
  if (typeof items === "string") return items;
  return (items ?? [])
    .flatMap((item) => (typeof item.content === "string" ? [item.content] : (item.content ?? [])))
    .map((part) => (typeof part === "string" ? part : (part.text ?? "")))
    .join("");
}

export class Tree {
  constructor(id, model, turns = []) {
    this.id = id; // null until the server has named the first turn
    this.model = model;
    this.turns = new Map();
    this.below = new Map([[null, []]]); // parent -> its turns, in the order they were made
    for (const turn of turns) this.add(turn);
  }

  static of(chat) {
    const known = new Set(chat.responses.map((response) => response.id));
    const inside = (id) => (known.has(id) ? id : null);
    const turns = chat.responses.map((r) => turnOf(r, inside(r.previous_response_id)));
    return new Tree(chat.id, chat.model, turns);
  }

  add(turn) {
    if (!this.turns.has(turn.id)) {
      this.children(turn.parent).push(turn.id);
      if (!this.below.has(turn.id)) this.below.set(turn.id, []);
    }
    this.turns.set(turn.id, turn);
  }

  get(id) {
    return this.turns.get(id);
  }

  children(id) {
    if (!this.below.has(id)) this.below.set(id, []);
    return this.below.get(id);
  }

  /** The turns from the beginning to one of them. */
  path(id) {
    const found = [];
    for (let turn = this.get(id); turn; turn = this.get(turn.parent)) found.push(turn);
    return found.reverse();
  }

  /** Other replies to the same words: ids, this one among them. */
  replies(turn) {
    return this.children(turn.parent).filter((id) => this.get(id).said === turn.said);
  }

  /** Other words in the same place: the last turn of each, this one for its own. */
  sayings(turn) {
    const last = new Map();
    for (const id of this.children(turn.parent)) last.set(this.get(id).said, id);
    if (this.turns.has(turn.id)) last.set(turn.said, turn.id);
    return [...last.values()];
  }

  /** Where a branch has come to: down the newest turns. */
  newest(id) {
    let at = id;
    for (let next = this.children(at); next.length; next = this.children(at)) at = next.at(-1);
    return at;
  }

  /** The turn that was made last. */
  get latest() {
    const turns = [...this.turns.values()];
    return turns.reduce((last, turn) => (turn.at >= last.at ? turn : last), turns[0] ?? { id: null }).id;
  }

  /** How far below a turn the newest of its branch is, in messages. */
  ahead(id) {
    return 2 * (this.path(this.newest(id)).length - this.path(id).length);
  }

  get branches() {
    return [...this.turns.keys()].filter((id) => !this.children(id).length).length;
  }

  /**
   * Where the map draws it. The first reply goes on straight down, every other branch in a column
   * of its own: [{id, kind, column, row, from}], `from` being the node above, or null.
   */
  laidOut() {
    const nodes = [];
    let columns = 0;
    const stack = this.starts(null, null, 0);
    while (stack.length) {
      const { turn, from, row, straight, beside } = stack.pop();
      const column = straight ? from.column : columns++;
      let said = beside?.said;
      if (!said) {
        said = { id: turn.id, kind: "said", column, row, from };
        nodes.push(said);
        if (beside) beside.said = said;
      }
      const reply = { id: turn.id, kind: "reply", column, row: row + 1, from: said };
      nodes.push(reply);
      stack.push(...this.starts(turn.id, reply, row + 2));
    }
    return nodes;
  }

  /** What grows out of a node, the first on top of the stack; replies to the same words share a node. */
  starts(id, from, row) {
    const words = new Map();
    const found = this.children(id).map((child) => {
      const turn = this.get(child);
      if (!words.has(turn.said)) words.set(turn.said, {});
      return { turn, from, row, beside: words.get(turn.said) };
    });
    // Replies to the same words are drawn one after another, so that lines do not cross.
    const order = [...words.keys()];
    found.sort((a, b) => order.indexOf(a.turn.said) - order.indexOf(b.turn.said));
    found.forEach((start, n) => (start.straight = n === 0 && from !== null));
    return found.reverse();
  }
}
