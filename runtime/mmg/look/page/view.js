// Which part of the recording is seen, and how keys, wheel and fingers change it.
const SHORTEST_S = 0.5;

class View {
  constructor(total_s, changed) {
    this.total_s = Math.max(total_s, SHORTEST_S);
    this.changed = changed;
    this.from = 0;
    this.to = this.total_s;
  }

  get length() { return this.to - this.from; }

  show(from, to) {
    const length = Math.min(Math.max(to - from, SHORTEST_S), this.total_s);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - length / 2, 0), this.total_s - length);
    this.to = this.from + length;
    this.changed();
  }

  // factor: how much shorter the span becomes; the time at `around` keeps its place.
  zoom(factor, around = (this.from + this.to) / 2) {
    const length = Math.min(Math.max(this.length / factor, SHORTEST_S), this.total_s);
    const part = (around - this.from) / this.length;
    const from = around - part * length;
    this.show(from, from + length);
  }

  move(by_s) {
    const from = Math.min(Math.max(this.from + by_s, 0), this.total_s - this.length);
    this.show(from, from + this.length);
  }

  // Move as little as it takes for this time to be seen.
  reveal(time_s) {
    if (time_s < this.from || time_s > this.to) this.show(time_s - this.length / 4, time_s + (this.length * 3) / 4);
  }

  get isWhole() { return this.length >= this.total_s - 1e-9; }
}

// Wheel, dragging, two fingers and clicks on the timeline. timeAt: the time at a place in pixels of the window.
function listenToPointers(element, view, timeAt, act) {
  const down = new Map();
  let moved = false;
  let apart = 0;
  element.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    const delta = (sideways && !event.deltaX ? event.deltaY : sideways ? event.deltaX : event.deltaY) * (event.deltaMode ? 30 : 1);
    if (!sideways && delta > 0 && view.isWhole) return;  // there is nothing more to see: the page scrolls
    event.preventDefault();
    if (sideways) view.move((delta / element.clientWidth) * view.length);
    else view.zoom(Math.exp(-delta / 300), timeAt(event.clientX));
  }, { passive: false });
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);  // what is let go outside is known to be up
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = down.size > 1;
    apart = distance(down);
  });
  element.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") act.hover(event.clientX, event.clientY);
      return;
    }
    if (!moved && Math.hypot(event.clientX - before.x, event.clientY - before.y) < 4) return;
    moved = true;
    act.leave();
    const scale = view.length / act.width();
    if (down.size === 1) view.move((before.x - event.clientX) * scale);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (down.size === 2) {
      const now = distance(down);
      const [one, two] = [...down.values()];
      if (apart > 0 && now > 0) view.zoom(now / apart, timeAt((one.x + two.x) / 2));
      apart = now;
    }
  });
  const up = (event) => {
    const began = down.delete(event.pointerId);
    if (began && !moved && event.type === "pointerup") {
      act.press(event.clientX);
      if (event.pointerType !== "mouse") act.hover(event.clientX, event.clientY);
    }
  };
  for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, up);
  element.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") act.leave(); });
  element.addEventListener("dblclick", (event) => view.zoom(4, timeAt(event.clientX)));
}

function distance(points) {
  const [one, two] = [...points.values()];
  return two ? Math.hypot(one.x - two.x, one.y - two.y) : 0;
}

// keys: what each does. A key that a button or a field would take is left to it.
function listenToKeys(keys) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const taken = event.target instanceof HTMLButtonElement && (event.key === " " || event.key === "Enter");
    const act = keys[event.key];
    if (!act || taken) return;
    event.preventDefault();
    act(event);
  });
}
