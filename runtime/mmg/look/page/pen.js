// What is drawn with: colours, the canvas and where its plot lies, and the axis of time.

// Colours come from the style sheet, so that they follow light and dark.
function readColours() {
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const shades = [0, 1, 2, 3, 4].map((place) => colour(`shade${place}`)).map((text) => text.match(/\w\w/g).map((part) => parseInt(part, 16)));
  const names = ["page", "card", "ink", "soft", "line", "faint", "right", "wrong", "truth", "mark", "sound", "bad", "warn", "good", "c0", "c1", "c2", "c3", "c4", "c5"];
  const colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
  colours.shades = Array.from({ length: 64 }, (_, place) => {
    const at = (Math.max(place - 1, 0) / 62) * (shades.length - 1);
    const [one, two] = [shades[Math.floor(at)], shades[Math.ceil(at)]];
    return one.map((value, part) => Math.round(value + (two[part] - value) * (at % 1)));
  });
  return colours;
}

// What a track draws with: the canvas, where its plot lies, and the colours.
class Pen {
  constructor(canvas) {
    this.canvas = canvas;
    this.paper = canvas.getContext("2d");
  }

  begin(width, height, view, colours) {
    const scale = Math.min(devicePixelRatio || 1, 3);
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.height = `${height}px`;
    }
    Object.assign(this, { scale, view, colours, width, small: width < 600 });
    this.left = this.small ? 82 : 132;
    this.plot = Math.max(width - this.left - 10, 50);
    this.paper.setTransform(scale, 0, 0, scale, 0, 0);
    this.paper.clearRect(0, 0, width, height);
  }

  x(time_s) { return this.left + ((time_s - this.view.from) / this.view.length) * this.plot; }

  time(x) { return this.view.from + ((x - this.left) / this.plot) * this.view.length; }

  text(words, x, y, { colour = this.colours.soft, align = "left", size = 12, weight = 400, most = Infinity } = {}) {
    const paper = this.paper;
    paper.font = `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;
    paper.fillStyle = colour;
    paper.textAlign = align;
    paper.textBaseline = "middle";
    paper.fillText(this.fitted(words, most), x, y);
  }

  // The words, cut with an ellipsis to so many pixels.
  fitted(words, most) {
    if (most === Infinity || this.paper.measureText(words).width <= most) return words;
    let [from, to] = [0, words.length];
    while (from < to) {
      const middle = (from + to + 1) >> 1;
      if (this.paper.measureText(`${words.slice(0, middle)}…`).width <= most) from = middle;
      else to = middle - 1;
    }
    return from ? `${words.slice(0, from)}…` : "";
  }

  inPlot(top, height, draw) {
    this.paper.save();
    this.paper.beginPath();
    this.paper.rect(this.left, top, this.plot, height);
    this.paper.clip();
    draw(this.paper);
    this.paper.restore();
  }

  frame(top, height) {
    this.paper.fillStyle = this.colours.card;
    this.paper.fillRect(this.left, top, this.plot, height);
    this.paper.strokeStyle = this.colours.line;
    this.paper.lineWidth = 1;
    this.paper.strokeRect(this.left + 0.5, top + 0.5, this.plot - 1, height - 1);
  }

  title(words, top, more = "") {
    this.text(words, 2, top + 8, { colour: this.colours.ink, weight: 600, most: this.left - (this.small ? 4 : 36), size: this.small ? 11 : 12 });
    if (more) this.text(more, 2, top + 23, { size: 11, most: this.left - 36 });
  }

  // A figure beside the plot; where it is narrow, the title takes the place of the topmost.
  figure(words, y, top, height) {
    const at = Math.min(Math.max(y, top + 6), top + height - 6);
    if (!this.small || at > top + 16) this.text(words, this.left - 6, at, { align: "right", size: 10 });
  }
}

const TIME_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

function timeTicks(view, plot) {
  const wanted = (view.length / plot) * 90;
  const step = TIME_STEPS.find((one) => one >= wanted) ?? 86400 * Math.ceil(wanted / 86400);
  const ticks = [];
  for (let at = Math.ceil(view.from / step - 1e-6) * step; at <= view.to + 1e-6; at += step) ticks.push(at);
  return { ticks, decimals: step < 1 ? 1 : 0 };
}

function timeAxis() {
  return {
    height: 20,
    gap: 4,
    draw(pen, top) {
      const { ticks, decimals } = timeTicks(pen.view, pen.plot);
      for (const tick of ticks) {
        const x = pen.x(tick);
        pen.paper.fillStyle = pen.colours.line;
        pen.paper.fillRect(Math.round(x), top + 14, 1, 6);
        const align = x < pen.left + 16 ? "left" : x > pen.left + pen.plot - 16 ? "right" : "center";
        pen.text(clock(tick, decimals), x, top + 7, { align, size: 11 });
      }
    },
    tell: () => [],
  };
}
