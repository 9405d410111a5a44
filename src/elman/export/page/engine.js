// The engine runs in a worker made of this file's own text, so that the page stays alive while it
// computes; where a browser allows none, it runs here.

const byId = (id) => document.getElementById(id);

class Engine {
  constructor() {
    this.waiting = new Map();
    this.count = 0;
    const source = byId("engine").textContent, take = (message) => this.take(message);
    try {
      this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      this.worker.onmessage = ({ data }) => take(data);
      this.worker.onerror = (event) => this.fail(event.message || "the worker did not start");
      this.send = (message) => this.worker.postMessage(message);
    } catch {
      const script = document.createElement("script");
      script.textContent = `window.elmanEngine = (() => {${source}\nreturn engine; })();`;
      document.head.append(script);
      const engine = window.elmanEngine(take);
      this.send = engine;
    }
  }

  /** Asks for something; `give` gets pieces of text. Rejects with what is shown of the conversation. */
  ask(method, args, give) {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, give });
      this.send({ id, method, args });
    });
  }

  stop() {
    this.send({ method: "stop" });
  }

  take({ id, piece, result, error, shown }) {
    const { resolve, reject, give } = this.waiting.get(id);
    if (piece !== undefined) return give?.(piece);
    this.waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(Object.assign(new Error(error), { shown }));
  }

  fail(why) {
    for (const { reject } of this.waiting.values()) reject(new Error(why));
    this.waiting.clear();
  }
}
