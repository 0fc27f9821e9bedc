// A card for each sensor: its state in a word, why, its clock, and what it feels or hears.
import { PORT, byId, colourNamed, lasted, make, paperOf, put } from "./words.js";

const SPAN_S = 30;
const HEIGHT = 52;
const FLOOR_DB = -72;
const SYMBOLS = { live: "●", doubted: "◒", warming: "◐", stale: "○", faulty: "✗", absent: "·", asleep: "z" };

export class Sensors {
  begin({ sensors, kinds, hop_s }) {
    this.hop_s = hop_s;
    this.cards = new Map(Object.entries(sensors).map(([name, url]) => [name, new Card(name, url, kinds[name])]));
    byId("sensors").replaceChildren(...[...this.cards.values()].map((card) => card.element));
  }

  hear({ at, sensors }) {
    for (const [name, sensor] of Object.entries(sensors)) this.cards?.get(name)?.hear(at, sensor);
  }

  draw() {
    for (const card of this.cards?.values() ?? []) card.draw(this.hop_s);
  }
}

class Card {
  constructor(name, url, kind) {
    Object.assign(this, { url, kind, isPort: PORT.test(url), heard: [], sensor: null });
    this.state = make("span", "–", "state");
    this.symbol = make("span", "", "symbol");
    this.symbol.setAttribute("aria-hidden", "true");
    this.reason = make("p", "", "reason");
    this.canvas = make("canvas", "", "spark");
    this.canvas.setAttribute("role", "img");
    this.range = make("p", "", "soft range");
    this.facts = make("dl", "", "facts");
    this.element = make("li", [
      make("h3", [make("bdi", name), " ", make("span", [this.symbol, this.state], "badge")]), this.reason, this.canvas, this.range, this.facts,
    ]);
  }

  hear(at, sensor) {
    this.sensor = sensor;
    if (this.heard.at(-1)?.at > at) this.heard = [];  // the board's clock was set back
    this.heard.push({ at, envelope: sensor.envelope ?? [] });
    while (this.heard[0].at < at - SPAN_S) this.heard.shift();
  }

  draw(hop_s) {
    const { sensor } = this;
    if (!sensor) return;
    this.element.dataset.state = sensor.state;
    put(this.symbol, SYMBOLS[sensor.state] ?? "?");
    put(this.state, sensor.state);
    put(this.reason, [sensor.reason, sensor.note].filter(Boolean).join("; "));
    this.reason.hidden = !this.reason.textContent;
    tell(this.facts, this.told());
    this.drawEnvelope(hop_s);
  }

  told() {
    const { state, age_ms, dropped, clock, rate_hz, device } = this.sensor;
    const known = [
      ["newest", age_ms > 0 ? `${lasted(age_ms / 1000)} ago` : "–"],
      ["dropped", `${dropped ?? 0}`],
    ];
    const where = ["at", device || this.url];
    if (!this.isPort) return [...known, where];
    return [
      ["rate", rate_hz && !["stale", "absent", "asleep"].includes(state) ? `${rate_hz.toFixed(rate_hz < 1000 ? 1 : 0)} Hz` : "–"],
      ...known,
      ["clock", clock ? `${signed(clock.drift_ppm)} ppm` : "–"],
      ["known to", clock ? `±${fine(clock.uncertainty_ms)} ms` : "–"],
      ["jitter", clock ? `${fine(clock.jitter_ms)} ms` : "–"],
      where,
    ];
  }

  drawEnvelope(hop_s) {
    const pairs = this.heard.flatMap(({ envelope }) => envelope);
    this.canvas.hidden = this.range.hidden = !pairs.length;
    const got = pairs.length ? paperOf(this.canvas, HEIGHT) : null;
    if (!got) return;
    const isSound = this.kind === "audio";
    const value = isSound ? (part) => Math.max(20 * Math.log10(Math.max(part, 1e-9)), FLOOR_DB) : (force) => force;
    const least = isSound ? FLOOR_DB : Math.min(...pairs.map(([low]) => low));
    const most = isSound ? 0 : Math.max(...pairs.map(([, high]) => high), least + 1);
    const { paper, width } = got;
    const y = (given) => HEIGHT - 1 - ((HEIGHT - 2) * (value(given) - least)) / (most - least);
    const newest = this.heard.at(-1).at;
    const step = (width * hop_s) / SPAN_S;
    for (const { at, envelope } of this.heard) {
      const left = width * (1 - (newest - at) / SPAN_S) - step;
      envelope.forEach(([low, high], place) => {
        const wide = step / envelope.length;
        const [top, bottom] = [y(high), y(low)];
        // Of sound, low is its mean level: below it lies all of what is heard, above it the peaks.
        paper.fillStyle = colourNamed(isSound ? "faint-wave" : "wave");
        paper.fillRect(left + place * wide, Math.min(top, bottom - 1.5), wide + 0.3, Math.max(bottom - top, 1.5));
        if (!isSound) return;
        paper.fillStyle = colourNamed("wave");
        paper.fillRect(left + place * wide, bottom, wide + 0.3, HEIGHT - bottom);
      });
    }
    const [lowest, highest] = [Math.min(...pairs.map(([low]) => low)), Math.max(...pairs.map(([, high]) => high))];
    const range = isSound
      ? `sound, peak ${Math.round(value(highest))} dB of full scale`
      : `acceleration, ${lowest.toFixed(1)} to ${highest.toFixed(1)} m/s²`;
    put(this.range, `${range}, ${SPAN_S} s`);
    this.canvas.setAttribute("aria-label", this.range.textContent);
  }
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(Math.abs(value) < 10 ? 1 : 0)}`;
const fine = (value) => value.toFixed(value < 10 ? 2 : 0);

// A list of names and values, in place.
export function tell(list, facts) {
  facts.forEach(([name, value], place) => {
    const pair = list.children[place] ?? list.appendChild(make("div", [make("dt"), make("dd")]));
    put(pair.firstChild, name);
    put(pair.lastChild, value);
  });
  while (list.children.length > facts.length) list.lastElementChild.remove();
}
