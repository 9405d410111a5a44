// Whether the server answers. Once it does not, it is asked again and again, ever more slowly.

const FIRST = 1; // seconds
const MOST = 15;

/** Dispatches "lost", "waiting" (with the seconds until it is asked again) and "back". */
export class Connection extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.down = false;
    addEventListener("online", () => this.down && this.ask());
    document.addEventListener("visibilitychange", () => this.down && !document.hidden && this.ask());
  }

  lost() {
    if (this.down) return;
    this.down = true;
    this.delay = FIRST;
    this.tell("lost");
    this.wait();
  }

  wait() {
    this.due = Date.now() + this.delay * 1000;
    this.delay = Math.min(MOST, this.delay * 2);
    clearInterval(this.timer);
    const tick = () => {
      const left = Math.ceil((this.due - Date.now()) / 1000);
      if (left > 0) this.tell("waiting", left);
      else this.ask();
    };
    this.timer = setInterval(tick, 1000);
    tick();
  }

  async ask() {
    clearInterval(this.timer);
    if (this.asking) return;
    this.asking = true;
    this.tell("waiting", 0);
    const alive = await this.api.alive();
    this.asking = false;
    if (!alive) return this.wait();
    this.down = false;
    this.tell("back");
  }

  tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
