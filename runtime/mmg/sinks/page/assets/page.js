// The live page: what the board says, as it says it, drawn at most once a frame.
import { Controls } from "./controls.js";
import { Link } from "./link.js";
import { Ribbon, fit } from "./ribbon.js";
import { Sensors, tell } from "./sensors.js";
import { Colours, UNKNOWN, byId, called, clock, lasted, listed, make, percent, put } from "./words.js";

const SCHEMA = 1;
const NEXT_BEST = 4;
const IDLE_S = 2;
const IDLE_HOPS = 4;
const UNTOLD = ["Latency", "Processor", "Memory"].map((name) => [name, "–"]);
const MOST_NOTICES = 12;
const CAMERA = {
  closed: ["⊘ Camera off", ": the kernel keeps it closed"],
  off: ["⊘ Camera off", ": mmg opens none, but nothing keeps it closed here"],
  open: ["◉ Camera in use", ": --allow-video was given"],
};
const root = document.documentElement;

class Page {
  constructor() {
    this.begin({ labels: [], hop_s: 0.5, sensors: {} });
    this.ribbon = new Ribbon();
    this.ribbon.changed = () => this.changed();
    this.sensors = new Sensors();
    this.controls = new Controls();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.changed());
    this.link = new Link((kind, data) => this.hear(kind, data), (problem) => this.tellProblem(problem));
  }

  begin(about) {
    const colours = new Colours(about.labels);
    Object.assign(this, { about, colours, decision: null, decided_ms: 0, vitals: null, notices: [], before: "", spoken: "" });
  }

  hear(kind, data) {
    this.heard_ms = performance.now();
    const take = {
      hello: () => this.greet(data),
      history: () => this.remember(data),
      decision: () => this.decide(data),
      sensors: () => this.sensors.hear(data),
      notice: () => { this.notices = [...this.notices, data].slice(-MOST_NOTICES); },
      vitals: () => { this.vitals = data; this.controls.hear(data); },
      teach: () => this.controls.taught(data),
      bye: () => {},
    };
    take[kind]();
    this.changed();
  }

  // By this page's clock: the board's time of day may be another, and may be set.
  get idle_s() { return ((this.problem ? this.heard_ms : performance.now()) - this.decided_ms) / 1000; }

  greet(hello) {
    this.isForeign = hello.schema !== SCHEMA;
    if (hello.run === root.dataset.run) return;
    this.begin(hello);
    this.ribbon.begin([], hello.step_s, this.colours);
    this.sensors.begin(hello);
    this.controls.begin(hello);
    this.drawAbout();
    root.dataset.run = hello.run;
    root.dataset.ready = "";
  }

  remember({ decisions, notices, since_s }) {
    this.ribbon.begin(decisions, this.about.step_s, this.colours);
    this.notices = notices.slice(-MOST_NOTICES);
    this.decided_ms = this.heard_ms - 1000 * since_s;
    const newest = decisions.at(-1);
    if (newest && (!this.decision || newest.t > this.decision.t)) this.decision = newest;
  }

  decide(decision) {
    Object.assign(this, { decision, decided_ms: this.heard_ms });
    this.ribbon.push(decision);
    // Said only where the label is another, and was decided twice: what flickers would never stop talking.
    if (decision.label !== this.spoken && decision.label === this.before) {
      this.spoken = decision.label;
      put(byId("announced"), `${called(decision.label)}, ${percent(decision.confidence)}`);
    }
    this.before = decision.label;
  }

  changed() {
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      this.draw();
    });
  }

  draw() {
    this.drawDecision();
    if (this.idle && this.spoken) {
      put(byId("announced"), this.idle.replace(/ for .*/, ""));
      this.spoken = this.before = "";
    }
    this.ribbon.draw(this.decision ? this.decision.t + this.idle_s : 0, Boolean(this.problem));
    this.sensors.draw();
    tell(byId("board"), this.vitals ? factsOf(this.vitals) : UNTOLD);
    this.drawNotices();
  }

  drawAbout() {
    const { bundle, board, host, mmg, camera } = this.about;
    put(byId("host"), host ?? "");
    put(byId("about"), [board, bundle && `bundle ${bundle}`, mmg && `mmg ${mmg}`].filter(Boolean).join(" · "));
    const [said, why] = (camera && CAMERA[camera.state]) ?? [];
    const by = camera?.by?.length ? ` (${camera.by.join(", ")})` : "";
    byId("camera").replaceChildren(...(said ? [make("strong", said), why + by] : []));
  }

  // Why there is no decision at this moment; "" where there is one. What was decided before is not what is done now.
  get idle() {
    if (this.vitals?.paused) return "paused";
    if (!this.decision) return "nothing decided yet";
    const { idle_s } = this;
    return idle_s > Math.max(IDLE_HOPS * this.about.hop_s, IDLE_S) ? `nothing decided for ${lasted(idle_s)}` : "";
  }

  drawDecision() {
    const { idle } = this;
    const decision = idle ? null : this.decision;
    const isNone = decision?.label === UNKNOWN;
    put(byId("label"), decision ? called(decision.label) : "–");
    byId("label").classList.toggle("long", decision !== null && decision.label.length > 16);
    byId("now").dataset.label = decision?.label ?? "";
    byId("track").hidden = !decision;
    byId("confidence").classList.toggle("idle", !decision);
    byId("bar").style.width = `${100 * (decision?.confidence ?? 0)}%`;
    byId("bar").style.background = decision ? this.colours.of(decision.label) : "";
    put(byId("confidence"), idle || percent(decision.confidence));
    const { modalities = [], truth } = decision ?? {};
    const from = modalities.length && `from ${listed(modalities)}`;
    const told = [isNone && "none of the labels fits", from, truth && `truth: ${called(truth)}`];
    put(byId("from"), told.filter(Boolean).join(" · "));
    const scores = Object.entries(decision?.scores ?? {}).filter(([label]) => label !== decision.label);
    this.drawNext(scores.sort((one, other) => other[1] - one[1]).slice(0, NEXT_BEST));
    const title = this.problem || !decision ? "" : `${called(decision.label)} · `;
    document.title = `${this.problem ? "not heard · " : title}mmg ${this.about.host ?? ""}`;
  }

  drawNext(scores) {
    byId("next-title").hidden = !scores.length;
    const list = byId("next");
    const track = () => {
      const inner = make("span", make("span", "", "bar"), "track");
      inner.setAttribute("aria-hidden", "true");
      return inner;
    };
    fit(list, scores.length, () => make("li", [make("bdi"), track(), make("span", "", "number")]));
    scores.forEach(([label, score], place) => {
      const [word, bar, number] = list.children[place].children;
      put(word, called(label));
      bar.firstChild.style.width = `${100 * score}%`;
      bar.firstChild.style.background = this.colours.of(label);
      put(number, percent(score));
    });
  }

  drawNotices() {
    const list = byId("notices");
    const shown = this.notices.length ? [...this.notices].reverse() : [{ text: "None so far." }];
    fit(list, shown.length, () => make("li", [make("span", "", "soft"), make("bdi")]));
    shown.forEach(({ at, text }, place) => {
      const [when, what] = list.children[place].children;
      put(when, at ? clock(at) : "");
      when.hidden = !at;
      put(what, text);
    });
  }

  // What is wrong stands above all; what was drawn stays, in grey. It is spoken once, and not each second.
  tellProblem(told) {
    const problem = told || (this.isForeign ? "The board speaks another language than this page: load the page again." : "");
    const isNews = Boolean(problem) !== Boolean(this.problem);
    this.problem = problem;
    put(byId("banner"), problem);
    byId("banner").hidden = !problem;
    if (!isNews) return;
    put(byId("told"), problem.replace(/ for \d+ s/, ""));
    root.classList.toggle("gone", Boolean(problem));
    this.controls.draw(Boolean(problem));
    this.changed();
  }
}

function factsOf({ uptime_s, cpu_percent, memory_mib, latency_ms, decisions, lost, viewers, recording, paused }) {
  const losses = Object.entries({ ...lost?.sensors, ...lost?.sinks }).filter(([, count]) => count);
  const late = latency_ms?.p50 == null ? "–" : `${Math.round(latency_ms.p50)} ms; 95% within ${Math.round(latency_ms.p95)} ms`;
  return [
    ["Latency", late],
    ["Processor", cpu_percent == null ? "–" : `${cpu_percent.toFixed(1)}% of one core`],
    ["Memory", memory_mib == null ? "–" : `${Math.round(memory_mib)} MiB`],
    ["Running for", `${lasted(uptime_s ?? 0)}${paused ? ", paused" : ""}`],
    ["Decisions", `${decisions ?? 0}`],
    ["Viewers", `${viewers ?? 0}`],
    ["Lost", losses.length ? losses.map(([name, count]) => `${name} ${count}`).join(", ") : "nothing"],
    ...(recording ? [["Recording", recordingTold(recording)]] : []),
  ];
}

function recordingTold({ path, bytes, mark }) {
  return `${path}, ${(bytes / 2 ** 20).toFixed(1)} MiB${mark ? `, marking ${mark}` : ""}`;
}

new Page();
