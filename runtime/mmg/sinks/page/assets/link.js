// The stream of events from the board: it says when the board is gone, and comes back to it by itself.
const SILENT_S = 4;
const SHORTEST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 5;
const KINDS = ["hello", "history", "decision", "sensors", "notice", "vitals", "teach", "bye"];
const REFUSED = {
  401: "This page may no longer look. Open the link with the token of this run.",
  403: "This page may not look from this address. Open the link that mmg-run shows.",
  503: "The board has as many viewers as it takes.",
};

export class Link {
  // heard(kind, data) for each event; changed(words) with what is wrong, every second, or "" while all is well.
  constructor(heard, changed) {
    Object.assign(this, { heard, changed, isOver: false, source: null, problem: "", wait_s: SHORTEST_WAIT_S });
    this.lastHeard_ms = performance.now();
    setInterval(() => this.look(), 1000);
    // A phone that slept has missed what was said meanwhile.
    addEventListener("visibilitychange", () => { if (!document.hidden) this.look(); });
    addEventListener("online", () => this.open());
    this.open();
  }

  get silent_s() { return (performance.now() - this.lastHeard_ms) / 1000; }

  open() {
    clearTimeout(this.next);
    this.source?.close();
    this.opened_ms = performance.now();
    const source = this.source = new EventSource("/events");
    for (const kind of KINDS) source.addEventListener(kind, (event) => this.take(kind, JSON.parse(event.data)));
    source.addEventListener("error", () => { if (source === this.source) this.lose(); });
  }

  take(kind, data) {
    this.lastHeard_ms = performance.now();
    this.wait_s = SHORTEST_WAIT_S;
    this.isOver = kind === "bye" || (this.isOver && kind !== "hello");
    this.problem = this.isOver ? "The run has ended." : "";
    this.isLost = false;
    this.heard(kind, data);
    this.changed(this.problem);
  }

  lose() {
    this.source?.close();
    this.source = null;
    this.isLost = true;
    clearTimeout(this.next);
    this.next = setTimeout(() => this.open(), 1000 * this.wait_s);
    this.wait_s = Math.min(2 * this.wait_s, LONGEST_WAIT_S);
    this.look();
    this.ask();
  }

  // An EventSource does not say why it was refused.
  async ask() {
    const answer = await fetch("/decision", { cache: "no-store" }).catch(() => null);
    if (this.isLost) this.refusal = REFUSED[answer?.status] ?? "";
  }

  look() {
    const silent_s = this.silent_s;
    const opening_s = (performance.now() - this.opened_ms) / 1000;
    if (silent_s > SILENT_S && this.source && opening_s > SILENT_S) {
      this.lose();
      return;
    }
    if (silent_s <= SILENT_S && !this.isLost) return;
    const gone = `The board has not been heard for ${Math.max(Math.round(silent_s), 1)} s.`;
    this.problem = (this.isLost && this.refusal) || (this.isOver ? "The run has ended." : gone);
    this.changed(this.problem);
  }
}
