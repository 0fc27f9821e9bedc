// Puts it together: tracks on the canvas, buttons, keys, the tip, and the part that the address names.
const byId = (id) => document.getElementById(id);

async function main() {
  if (!("DecompressionStream" in window)) throw new Error("this browser is too old to unpack the page: one of 2023 or later can");
  const block = await inflated("data");
  const decisions = readDecisions(block);
  const sound = new Sound(facts.sound);
  const tracks = tracksOf(block, decisions, sound);
  for (const id of ["tools", "overview", "timeline", "legend", "keys"]) byId(id).hidden = false;
  const scene = new Scene(tracks, decisions, sound);
  scene.listen();
  scene.readAddress();
  scene.draw();
  drawLegend(scene.colours);
  root.dataset.ready = "";
}

function tracksOf(block, decisions, sound) {
  const lanes = laneTrack(decisions);
  const axis = timeAxis();
  const states = facts.sensors.map((sensor) => healthTrack(sensor, facts.span_s));
  if (states.length) states[states.length - 1].gap = 0;
  return [
    axis,
    lanes,
    ...(decisions.count ? [confidenceTrack(decisions)] : []),
    ...(facts.marks.length ? [markTrack()] : []),
    ...readSignals(block).map((signal) => signalTrack(signal)),
    ...readSpectrograms(block).map((one) => soundTrack(one, sound)),
    ...states,
  ];
}

class Scene {
  constructor(tracks, decisions, sound) {
    Object.assign(this, { tracks, decisions, sound, colours: readColours(), hovered: null });
    this.view = new View(facts.span_s, () => this.changed());
    this.pen = new Pen(byId("tracks"));
    this.small = new Pen(byId("overview"));
    this.player = new Player(sound, facts.span_s, {
      moved: (time_s) => this.moveCursor(time_s),
      say: (line) => { byId("said").textContent = line; },
      changed: () => { byId("play").textContent = this.player.playing ? "Pause" : "Play"; },
    });
    this.stops = stopsOf(decisions);
    byId("stop").textContent = this.stops.name;
    byId("back").disabled = byId("next").disabled = !this.stops.times.length;
  }

  changed() {
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      this.draw();
      this.writeAddress();
    });
  }

  draw() {
    const { view } = this;
    const timeline = byId("timeline");
    const width = timeline.clientWidth;
    const height = this.tracks.reduce((sum, track) => sum + track.height + track.gap, 0);
    this.pen.begin(width, height, view, this.colours);
    let top = 0;
    for (const track of this.tracks) {
      track.top = top;
      track.draw(this.pen, top);
      top += track.height + track.gap;
    }
    this.drawOverview(width);
    for (const id of ["hair", "cursor"]) byId(id).style.height = `${height - 20}px`;
    const decimals = view.length < 600 ? 1 : 0;
    byId("span").textContent = `${clock(view.from, decimals)} – ${clock(view.to, decimals)} of ${clock(facts.span_s, decimals)}`;
    Object.assign(timeline.dataset, { from: view.from, to: view.to });
    this.placeCursor();
    if (this.hovered) this.hover(...this.hovered);
  }

  drawOverview(width) {
    const whole = { from: 0, to: this.view.total_s, length: this.view.total_s, total_s: this.view.total_s };
    const height = 44;
    this.small.begin(width, height, whole, this.colours);
    const { paper, left, plot, colours } = this.small;
    this.small.frame(0, height);
    this.small.text("whole", 2, 9, { colour: colours.ink, weight: 600 });
    this.small.text(clock(this.view.total_s, 0), 2, 24, { size: 11 });
    this.small.inPlot(1, height - 2, () => this.tracks[1].drawSmall(this.small, 3, height - 6));
    const [from, to] = [this.small.x(this.view.from), this.small.x(this.view.to)];
    paper.fillStyle = colours.page;
    paper.globalAlpha = 0.65;
    paper.fillRect(left + 1, 1, Math.max(from - left - 1, 0), height - 2);
    paper.fillRect(to, 1, Math.max(left + plot - to - 1, 0), height - 2);
    paper.globalAlpha = 1;
    paper.strokeStyle = colours.ink;
    paper.lineWidth = 2;
    paper.strokeRect(from + 1, 1, Math.max(to - from - 2, 2), height - 2);
  }

  timeAt(clientX) { return this.pen.time(clientX - byId("timeline").getBoundingClientRect().left); }

  moveCursor(time_s) {
    if (this.player.playing) this.view.reveal(time_s);
    this.placeCursor();
  }

  placeCursor() {
    const cursor = byId("cursor");
    const time_s = this.player.at_s;
    byId("timeline").dataset.cursor = time_s.toFixed(3);
    const x = this.pen.x(time_s);
    cursor.hidden = x < this.pen.left - 1 || x > this.pen.left + this.pen.plot + 1;
    cursor.style.transform = `translateX(${x}px)`;
  }

  // The tip at a place in pixels of the window: what every track has to say of that moment.
  hover(clientX, clientY) {
    const box = byId("timeline").getBoundingClientRect();
    const [x, y] = [clientX - box.left, clientY - box.top];
    const { pen } = this;
    if (x < pen.left || x > pen.left + pen.plot || y < 0 || y > box.height) return this.leave();
    this.hovered = [clientX, clientY];
    const time_s = pen.time(x);
    const rows = [["time", clock(time_s, this.view.length < 120 ? 2 : 1)]];
    for (const track of this.tracks) {
      const inside = y >= track.top && y < track.top + track.height;
      rows.push(...track.tell(time_s, inside ? y - track.top : null, pen));
    }
    const tip = byId("tip");
    tip.replaceChildren(...rows.flatMap(([name, value]) => [wordsIn("span", name), wordsIn("b", value)]));
    tip.hidden = byId("hair").hidden = false;
    byId("hair").style.transform = `translateX(${x}px)`;
    const below = pen.small;
    tip.classList.toggle("below", below);
    if (below) {
      tip.style.transform = "";
    } else {
      const right = x + 16 + tip.offsetWidth < box.width;
      const tall = Math.min(Math.max(y + 12, 0), box.height - tip.offsetHeight);
      tip.style.transform = `translate(${right ? x + 16 : x - 16 - tip.offsetWidth}px, ${tall}px)`;
    }
    return undefined;
  }

  leave() {
    this.hovered = null;
    byId("tip").hidden = byId("hair").hidden = true;
  }

  jump(way) {
    const { times } = this.stops;
    const at = this.player.at_s;
    const place = way > 0 ? after(times, at + 0.01) : after(times, at - 0.01) - 1;
    if (place < 0 || place >= times.length) return;
    if (this.view.length > 600) this.view.show(times[place] - 60, times[place] + 60);
    this.player.seek(times[place]);
    this.view.reveal(times[place]);
  }

  listen() {
    const { view, player } = this;
    const quarter = () => view.length / 4;
    const press = (clientX) => {
      const time_s = this.timeAt(clientX);
      if (time_s >= view.from && time_s <= view.to) player.seek(time_s);
    };
    listenToPointers(byId("timeline"), view, (clientX) => this.timeAt(clientX), {
      hover: (clientX, clientY) => this.hover(clientX, clientY),
      leave: () => this.leave(),
      width: () => this.pen.plot,
      press,
    });
    const keys = {
      "+": () => view.zoom(2, this.middle()),
      "=": () => view.zoom(2, this.middle()),
      "-": () => view.zoom(0.5, this.middle()),
      "_": () => view.zoom(0.5, this.middle()),
      "0": () => view.show(0, view.total_s),
      ArrowLeft: () => view.move(-quarter()),
      ArrowRight: () => view.move(quarter()),
      Home: () => view.show(0, view.length),
      End: () => view.show(view.total_s - view.length, view.total_s),
      " ": () => player.toggle(),
      n: () => this.jump(1),
      p: () => this.jump(-1),
    };
    listenToKeys(keys);
    const buttons = { play: " ", in: "+", out: "-", all: "0", back: "p", next: "n" };
    for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener("click", keys[key]);
    this.listenToOverview();
    new ResizeObserver(() => this.changed()).observe(byId("timeline"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.colours = readColours();
      drawLegend(this.colours);
      this.changed();
    });
    addEventListener("hashchange", () => this.readAddress());
  }

  // Zooming by key keeps the cursor's place where it is seen, else the middle.
  middle() {
    const { from, to } = this.view;
    const at = this.player.at_s;
    return at > from && at < to ? at : (from + to) / 2;
  }

  listenToOverview() {
    const overview = byId("overview");
    const go = (event) => {
      const middle = this.small.time(event.clientX - overview.getBoundingClientRect().left);
      this.view.show(middle - this.view.length / 2, middle + this.view.length / 2);
    };
    overview.addEventListener("pointerdown", (event) => {
      overview.setPointerCapture(event.pointerId);
      // What is whole cannot be moved: a press there asks for a closer look.
      if (this.view.isWhole) this.view.zoom(8);
      go(event);
    });
    overview.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
  }

  // The part that is seen is in the address, such as #12.5-30: it can be sent as a link.
  readAddress() {
    const [, from, to] = location.hash.match(/^#([\d.]+)-([\d.]+)$/) ?? [];
    if (Number(to) > Number(from)) this.view.show(Number(from), Number(to));
  }

  writeAddress() {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      const part = this.view.isWhole ? "" : `#${this.view.from.toFixed(2)}-${this.view.to.toFixed(2)}`;
      history.replaceState(null, "", part || location.pathname + location.search);
    }, 300);
  }
}

// Where n and p go: wrong decisions where there is a truth, else where the decision changes. The first of each row.
function stopsOf(decisions) {
  const judged = facts.truth.length > 0;
  const times = [];
  for (let place = 0; place < decisions.count; place++) {
    const isStop = judged ? isWrong(decisions, place) : place > 0 && decisions.label[place] !== decisions.label[place - 1];
    const before = place > 0 && (judged ? isWrong(decisions, place - 1) : false);
    if (isStop && !before) times.push(Math.max(decisions.end_s[place] - decisions.hop_s, 0));
  }
  return { times, name: judged ? "wrong" : "change" };
}

function wordsIn(name, words) {
  const element = document.createElement(name);
  element.textContent = words;
  return element;
}

function drawLegend(colours) {
  const items = [];
  const swatch = (words, draw) => {
    const canvas = document.createElement("canvas");
    canvas.width = 48;
    canvas.height = 28;
    const paper = canvas.getContext("2d");
    paper.scale(2, 2);
    draw(paper);
    const item = document.createElement("li");
    item.append(canvas, words);
    items.push(item);
  };
  const box = (colour) => (paper) => { paper.fillStyle = colour; paper.fillRect(1, 3, 22, 8); };
  if (facts.decisions.count) swatch(facts.truth.length ? "decided as the truth" : "decided; the paler, the less sure", box(colours.right));
  if (facts.truth.length) {
    swatch("decided otherwise", box(colours.wrong));
    swatch("truth", (paper) => { paper.strokeStyle = colours.truth; paper.lineWidth = 1.5; paper.fillStyle = colours.faint; paper.fillRect(1, 1, 22, 12); paper.strokeRect(1, 1, 22, 12); });
  }
  const states = new Set(facts.sensors.flatMap((sensor) => sensor.runs.map(([, state]) => state)));
  for (const state of STATES) {
    if (states.has(state)) swatch(state, (paper) => drawState(paper, colours, state, 0, 0, 24, 14));
  }
  if (facts.sound && !new Sound(facts.sound).isWhole) swatch("sound that can be played", (paper) => { paper.fillStyle = colours.sound; paper.fillRect(1, 5, 22, 4); });
  byId("legend").replaceChildren(...items);
}

main().catch((error) => {
  root.dataset.error = error.message;
  byId("problem").textContent = `The timeline cannot be shown: ${error.message}.`;
  byId("problem").hidden = false;
});
