// What was decided in the last ten minutes: a ribbon that can be pointed at, its legend, and a table of the same.
import { byId, called, clock, colourNamed, lasted, listed, make, paperOf, percent, put } from "./words.js";

const LONGEST_S = 600;
// Of a run that is younger than ten minutes less is drawn, and so larger: seconds, and minutes between two ticks.
const SPANS = [{ span_s: 120, tick: 1, few: 1 }, { span_s: 300, tick: 1, few: 2 }, { span_s: LONGEST_S, tick: 2, few: 5 }];
const NAMES = 18;
const BARS = 56;
const TICKS = 16;
const MOST_ROWS = 20;
const MOST_LABELS = 12;
const BRIEF_S = 3;

export class Ribbon {
  constructor() {
    this.element = byId("ribbon");
    this.canvas = this.element.querySelector("canvas");
    this.begin([], 0.5, null);
    this.listen();
  }

  begin(decisions, hop_s, colours) {
    Object.assign(this, { decisions, hop_s, colours, chosen: null, newest: null });
    this.trim();
  }

  // Of hops shorter than half a second every n-th, as in the history: hop_s is from one to the next.
  push(decision) {
    const newest = this.decisions.at(-1);
    if (newest && decision.t - newest.t < 0.99 * this.hop_s) return;
    this.decisions.push(decision);
    this.trim();
  }

  trim() {
    this.newest = this.decisions.at(-1) ?? null;
    const first = this.decisions.findIndex((one) => one.t > this.newest.t - LONGEST_S);
    if (first > 0) this.decisions.splice(0, first);
    if (this.chosen && !this.decisions.includes(this.chosen)) this.choose(null);
  }

  // end_s: the run's time by now, by which the ribbon moves on where nothing is decided.
  draw(end_s, isGone) {
    this.end_s = end_s;
    const got = paperOf(this.canvas, NAMES + BARS + TICKS);
    if (!got) return;
    const age_s = this.end_s - (this.decisions[0]?.t ?? 0) + this.hop_s;
    const { span_s, tick, few } = SPANS.find((one) => one.span_s >= age_s) ?? SPANS.at(-1);
    Object.assign(this, got, { isGone, span_s, tick: got.width < 500 ? few : tick });
    this.drawTicks();
    this.drawBars();
    this.drawNames();
    this.drawChosen();
    this.element.dataset.count = this.decisions.length;
    this.drawLegend();
    this.drawTable();
  }

  x(t_s) { return this.width * (1 - (this.end_s - t_s) / this.span_s); }

  drawTicks() {
    const { paper } = this;
    paper.font = "11px system-ui, sans-serif";
    paper.textBaseline = "middle";
    for (let minutes = 0; 60 * minutes <= this.span_s; minutes += this.tick) {
      const x = this.x(this.end_s - 60 * minutes);
      paper.fillStyle = colourNamed("line");
      paper.fillRect(Math.min(x, this.width - 1), NAMES, 1, BARS);
      paper.fillStyle = colourNamed("soft");
      paper.textAlign = minutes === 0 ? "right" : 60 * minutes === this.span_s ? "left" : "center";
      paper.fillText(minutes === 0 ? (this.isGone ? "last heard" : "now") : `${minutes} min ago`, x, NAMES + BARS + 9);
    }
    paper.textAlign = "left";
    paper.fillStyle = colourNamed("line");
    paper.fillRect(0, NAMES + BARS - 1, this.width, 1);
  }

  // As many bars as the screen has pixels, each of the label most decided there, as high as its confidence.
  drawBars() {
    const { paper, decisions, hop_s } = this;
    const columns = Math.ceil(this.width * this.scale);
    const column_s = this.span_s / columns;
    let first = 0;
    for (let column = 0; column < columns; column++) {
      const from_s = this.end_s - this.span_s + column * column_s;
      while (first < decisions.length && decisions[first].t <= from_s) first++;
      const sums = new Map();
      for (let place = first; place < decisions.length && decisions[place].t - hop_s < from_s + column_s; place++) {
        const { label, confidence } = decisions[place];
        const [count, sum] = sums.get(label) ?? [0, 0];
        sums.set(label, [count + 1, sum + confidence]);
      }
      if (!sums.size) continue;
      const [label, [count, sum]] = [...sums].reduce((one, other) => (other[1][0] > one[1][0] ? other : one));
      const height = Math.max((BARS - 2) * (sum / count), 2);
      paper.fillStyle = this.colours.of(label);
      paper.fillRect(column / this.scale, NAMES + BARS - 1 - height, 1 / this.scale, height);
    }
  }

  // Above the bars, the name of what lasts long enough for it.
  drawNames() {
    const { paper } = this;
    paper.font = "12px system-ui, sans-serif";
    paper.fillStyle = colourNamed("ink");
    for (const one of stretches(this.decisions, this.hop_s, BRIEF_S)) {
      const from = Math.max(this.x(one.from_s), 0);
      const name = called(one.label);
      if (this.x(one.to_s) - from > paper.measureText(name).width + 4) paper.fillText(name, from, NAMES / 2);
    }
  }

  drawChosen() {
    if (!this.chosen) return;
    const { paper } = this;
    const x = Math.max(this.x(this.chosen.t - this.hop_s / 2), 1);
    paper.fillStyle = colourNamed("ink");
    paper.fillRect(x - 1, NAMES, 2, BARS);
  }

  drawLegend() {
    const counts = new Map();
    for (const { label } of this.decisions) counts.set(label, (counts.get(label) ?? 0) + 1);
    const order = [...counts].sort((one, other) => other[1] - one[1]);
    const named = order.slice(0, MOST_LABELS).map(([label, count]) => [called(label), count, this.colours.of(label)]);
    const rest = order.slice(MOST_LABELS).reduce((sum, [, count]) => sum + count, 0);
    if (rest) named.push([`${order.length - MOST_LABELS} more`, rest, "transparent"]);
    const legend = byId("legend");
    fit(legend, named.length, () => make("li", [make("span", "", "swatch"), make("bdi"), make("span", "", "soft")]));
    named.forEach(([name, count, colour], place) => {
      const [swatch, word, share] = legend.children[place].children;
      swatch.style.background = colour;
      put(word, name);
      put(share, percent(count / this.decisions.length));
    });
  }

  drawTable() {
    if (!byId("stretches").open) return;
    const rows = stretches(this.decisions, this.hop_s).slice(-MOST_ROWS).reverse();
    const [body] = byId("stretches").querySelector("table").tBodies;
    fit(body, rows.length, () => make("tr", [make("td"), make("td"), make("td", make("bdi")), make("td")]));
    rows.forEach((one, place) => {
      const { cells } = body.rows[place];
      put(cells[0], clock(one.at - this.hop_s));
      put(cells[1], lasted(one.to_s - one.from_s));
      put(cells[2].firstChild, called(one.label));
      put(cells[3], percent(one.sum / one.count));
    });
  }

  choose(decision) {
    this.chosen = decision;
    const words = decision ? this.tell(decision) : "Point at the ribbon, or use the arrow keys.";
    put(byId("moment"), words);
    this.element.setAttribute("aria-valuetext", decision ? words : "none chosen");
    const place = decision ? LONGEST_S - Math.min(this.newest.t - decision.t, LONGEST_S) : 0;
    this.element.setAttribute("aria-valuenow", Math.round(place));
    this.changed?.();
  }

  tell({ at, t, label, confidence, modalities = [] }) {
    const from = modalities.length ? `, from ${listed(modalities)}` : "";
    return `${clock(at)} (${t.toFixed(1)} s): ${called(label)}, ${percent(confidence)}${from}`;
  }

  listen() {
    const { element } = this;
    this.choose(null);
    const point = (event) => {
      if (!this.decisions.length || !this.width) return;
      const part = (event.clientX - element.getBoundingClientRect().left) / this.width;
      const t_s = this.end_s - this.span_s * (1 - part) + this.hop_s / 2;
      this.choose(this.decisions.reduce((one, other) => (Math.abs(other.t - t_s) < Math.abs(one.t - t_s) ? other : one)));
    };
    element.addEventListener("pointermove", point);
    element.addEventListener("pointerdown", point);
    element.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.choose(null); });
    const minute = () => Math.round(60 / this.hop_s);
    const steps = {
      ArrowLeft: () => -1,
      ArrowDown: () => -1,
      ArrowRight: () => 1,
      ArrowUp: () => 1,
      PageDown: () => -minute(),
      PageUp: minute,
      Home: () => -Infinity,
      End: () => Infinity,
    };
    element.addEventListener("keydown", (event) => {
      const step = steps[event.key]?.();
      if (!step || !this.decisions.length || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      const last = this.decisions.length - 1;
      const place = this.chosen ? this.decisions.indexOf(this.chosen) + step : last;
      this.choose(this.decisions[Math.min(Math.max(place, 0), last)]);
    });
    new ResizeObserver(() => this.changed?.()).observe(element);
    byId("stretches").addEventListener("toggle", () => this.changed?.());
  }
}

// As long as the label stays, and no hop is missing, it is one. at: the board's time when the first was decided.
// brief_s: what is shorter, and has the same label before and after it, is passed over.
function stretches(decisions, hop_s, brief_s = 0) {
  const found = [];
  for (const { at, t, label, confidence } of decisions) {
    const last = found.at(-1);
    if (last && last.label === label && t - last.to_s < 1.5 * hop_s) {
      last.to_s = t;
      last.count += 1;
      last.sum += confidence;
    } else {
      found.push({ at, from_s: t - hop_s, to_s: t, label, count: 1, sum: confidence });
    }
  }
  if (!brief_s) return found;
  return found.filter((one) => one.to_s - one.from_s >= brief_s).reduce((joined, one) => {
    const last = joined.at(-1);
    if (last && last.label === one.label && one.from_s - last.to_s <= brief_s) last.to_s = one.to_s;
    else joined.push(one);
    return joined;
  }, []);
}

// As many children as this, of which those that are there stay.
export function fit(parent, count, another) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(another());
}
