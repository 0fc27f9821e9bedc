// The rows of the timeline. A track has a title, a height, draw(pen, top), and tell(time, y): rows of words for the tip.
const MOST_LANES = 16;
const STATES = ["live", "warming", "doubted", "stale", "faulty", "absent"];
const FREQUENCIES = [100, 250, 500, 1000, 2000, 4000, 8000, 16000];

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

// A row for each label: what was decided, as strong as the confidence, and the truth as a frame around it.
function laneTrack(decisions) {
  const { labels } = facts;
  const time = new Float64Array(labels.length);
  const hasTruth = facts.truth.length > 0;
  for (let place = 0; place < decisions.count; place++) time[decisions.label[place]] += facts.hop_s;
  const placeOf = new Map(labels.map((label, place) => [label, place]));
  for (const [from, to, label] of facts.truth) if (placeOf.has(label)) time[placeOf.get(label)] += to - from;
  const order = labels.map((_, place) => place).filter((place) => time[place] > 0).sort((a, b) => time[b] - time[a]);
  const named = order.length > MOST_LANES ? order.slice(0, MOST_LANES - 1) : order;
  const lanes = named.length + (order.length > named.length ? 1 : 0);
  const laneOf = new Int16Array(labels.length).fill(lanes - 1);
  named.forEach((place, lane) => { laneOf[place] = lane; });
  const row = lanes > 10 ? 16 : 20;

  function drawDecisions(pen, paper, top) {
    const { view } = pen;
    const columns = Math.ceil(pen.plot * pen.scale);
    const first = Math.max(after(decisions.end_s, view.from, decisions.count) - 1, 0);
    const perColumn = view.length / columns;
    if (perColumn < facts.hop_s) {
      for (let place = first; place < decisions.count && decisions.end_s[place] - facts.hop_s < view.to; place++) {
        const lane = laneOf[decisions.label[place]];
        const [from, to] = [pen.x(decisions.end_s[place] - facts.hop_s), pen.x(decisions.end_s[place])];
        paper.globalAlpha = 0.25 + (0.75 * decisions.confidence[place]) / 200;
        paper.fillStyle = isWrong(decisions, place) ? pen.colours.wrong : pen.colours.right;
        paper.fillRect(from, top + lane * row + 4, Math.max(to - from - (to - from > 6 ? 1 : 0), 1), row - 7);
      }
      paper.globalAlpha = 1;
      return;
    }
    // Many decisions a pixel: as strong as their part of it.
    const sums = [new Float32Array(lanes * columns), new Float32Array(lanes * columns)];
    const counts = new Float32Array(columns);
    for (let place = first; place < decisions.count && decisions.end_s[place] - facts.hop_s < view.to; place++) {
      const column = Math.floor((decisions.end_s[place] - facts.hop_s / 2 - view.from) / perColumn);
      if (column < 0 || column >= columns) continue;
      counts[column] += 1;
      sums[isWrong(decisions, place) ? 1 : 0][laneOf[decisions.label[place]] * columns + column] += decisions.confidence[place] / 200;
    }
    for (const [kind, colour] of [[0, pen.colours.right], [1, pen.colours.wrong]]) {
      paper.fillStyle = colour;
      for (let lane = 0; lane < lanes; lane++) {
        for (let column = 0; column < columns; column++) {
          const sum = sums[kind][lane * columns + column];
          if (!sum) continue;
          paper.globalAlpha = Math.min(0.25 + (0.75 * sum) / counts[column], 1);
          const half = (row - 7) / 2;
          const share = hasTruth ? half : row - 7;
          paper.fillRect(pen.left + column / pen.scale, top + lane * row + 4 + (hasTruth && kind ? half : 0), 1 / pen.scale, share);
        }
      }
    }
    paper.globalAlpha = 1;
  }

  function drawTruth(pen, paper, top) {
    paper.lineWidth = 1.5;
    paper.strokeStyle = pen.colours.truth;
    paper.fillStyle = pen.colours.faint;
    for (const [from, to, label] of facts.truth) {
      if (to < pen.view.from || from > pen.view.to) continue;
      const y = top + laneOf[placeOf.get(label)] * row + 1.5;
      const width = Math.max(pen.x(to) - pen.x(from), 1);
      paper.fillRect(pen.x(from), y, width, row - 3);
      if (width > 3) paper.strokeRect(pen.x(from), y, width, row - 3);
    }
  }

  return {
    title: "decisions",
    height: Math.max(lanes, 1) * row + 2,
    gap: 8,
    named: true,
    draw(pen, top) {
      pen.frame(top, this.height);
      if (!lanes) {
        pen.text("No decision was made: what this page holds, below, says why.", pen.left + 8, top + 11, { most: pen.plot - 16 });
        return;
      }
      pen.paper.fillStyle = pen.colours.faint;
      for (let lane = 1; lane < lanes; lane += 2) pen.paper.fillRect(pen.left + 1, top + lane * row + 1, pen.plot - 2, row);
      for (let lane = 0; lane < lanes; lane++) {
        const words = lane < named.length ? labels[named[lane]].replaceAll("_", " ") : `${order.length - named.length} others`;
        pen.text(words, pen.left - 8, top + 1 + (lane + 0.5) * row, { colour: pen.colours.ink, align: "right", size: pen.small ? 11 : 12, most: pen.left - 10 });
      }
      pen.inPlot(top, this.height, (paper) => {
        drawTruth(pen, paper, top + 1);
        drawDecisions(pen, paper, top + 1);
      });
    },
    tell(time_s) {
      const place = decisionAt(decisions, time_s);
      const rows = [];
      if (place >= 0) {
        const percent = (score) => `${(score / 2).toFixed(0)} %`;
        rows.push(["decided", `${labels[decisions.label[place]]}  ${percent(decisions.confidence[place])}`]);
        if (decisions.second[place] >= 0) rows.push(["then", `${labels[decisions.second[place]]}  ${percent(decisions.second_score[place])}`]);
      } else {
        rows.push(["decided", "nothing"]);
      }
      const truth = facts.truth.find(([from, to]) => from <= time_s && time_s < to);
      if (truth) rows.push(["truth", truth[2]]);
      return rows;
    },
    // Small, for the overview.
    drawSmall(pen, top, height) {
      const lane = height / Math.max(lanes, 1);
      const columns = Math.ceil(pen.plot);
      const [right, wrong, all] = [new Float32Array(lanes * columns), new Float32Array(lanes * columns), new Float32Array(columns)];
      for (let place = 0; place < decisions.count; place++) {
        const column = Math.min(Math.max(Math.floor(pen.x(decisions.end_s[place] - facts.hop_s) - pen.left + 1e-6), 0), columns - 1);
        (isWrong(decisions, place) ? wrong : right)[laneOf[decisions.label[place]] * columns + column] += 1;
        all[column] += 1;
      }
      const least = pen.plot / Math.max(pen.view.total_s / facts.hop_s, 1);
      for (let place = 0; place < right.length; place++) {
        const sum = right[place] + wrong[place];
        if (!sum) continue;
        pen.paper.globalAlpha = 0.2 + (0.8 * sum) / all[place % columns];
        pen.paper.fillStyle = wrong[place] > right[place] ? pen.colours.wrong : pen.colours.right;
        pen.paper.fillRect(pen.left + (place % columns), top + Math.floor(place / columns) * lane, Math.max(least, 1), Math.max(lane - 0.5, 1));
      }
      pen.paper.globalAlpha = 1;
    },
  };
}

function isWrong(decisions, place) {
  return decisions.truth[place] >= 0 && decisions.truth[place] !== decisions.label[place];
}

function confidenceTrack(decisions) {
  return {
    title: "confidence",
    height: 46,
    gap: 10,
    draw(pen, top) {
      pen.frame(top, this.height);
      pen.title(this.title, top);
      for (const [part, words] of [[1, "100 %"], [0.5, "50"], [0, "0"]]) {
        const y = top + 3 + (1 - part) * (this.height - 6);
        pen.figure(words, y, top, this.height);
        pen.paper.fillStyle = pen.colours.line;
        if (part === 0.5) pen.paper.fillRect(pen.left, Math.round(y), pen.plot, 1);
      }
      const y = (score) => top + 3 + (1 - score / 200) * (this.height - 6);
      pen.inPlot(top, this.height, (paper) => {
        const first = Math.max(after(decisions.end_s, pen.view.from, decisions.count) - 1, 0);
        paper.lineWidth = 1.5;
        paper.strokeStyle = pen.colours.right;
        if (pen.view.length / pen.plot < facts.hop_s) {
          paper.beginPath();
          let last_s = -Infinity;
          for (let place = first; place < decisions.count && decisions.end_s[place] - facts.hop_s < pen.view.to; place++) {
            const [from, to] = [decisions.end_s[place] - facts.hop_s, decisions.end_s[place]];
            if (from - last_s > facts.hop_s / 2) paper.moveTo(pen.x(from), y(decisions.confidence[place]));
            paper.lineTo(pen.x(from), y(decisions.confidence[place]));
            paper.lineTo(pen.x(to), y(decisions.confidence[place]));
            last_s = to;
          }
          paper.stroke();
          return;
        }
        drawMany(pen, paper, first, y);
      });
    },
    tell: () => [],
  };

  // From the least to the greatest in each pixel, and the mean.
  function drawMany(pen, paper, first, y) {
    const columns = Math.ceil(pen.plot);
    const [low, high, sum, count] = [new Uint8Array(columns).fill(255), new Uint8Array(columns), new Float64Array(columns), new Int32Array(columns)];
    for (let place = first; place < decisions.count && decisions.end_s[place] - facts.hop_s < pen.view.to; place++) {
      const column = Math.floor(pen.x(decisions.end_s[place] - facts.hop_s / 2) - pen.left);
      if (column < 0 || column >= columns) continue;
      const score = decisions.confidence[place];
      low[column] = Math.min(low[column], score);
      high[column] = Math.max(high[column], score);
      sum[column] += score;
      count[column] += 1;
    }
    paper.fillStyle = pen.colours.right;
    paper.globalAlpha = 0.25;
    for (let column = 0; column < columns; column++) {
      if (count[column]) paper.fillRect(pen.left + column, y(high[column]), 1, Math.max(y(low[column]) - y(high[column]), 1));
    }
    paper.globalAlpha = 1;
    for (let column = 0; column < columns; column++) {
      if (count[column]) paper.fillRect(pen.left + column, y(sum[column] / count[column]) - 0.75, 1, 1.5);
    }
  }
}

// Marks in as many rows as overlap at once, three at most.
function markTrack() {
  const ends = [];
  const placed = facts.marks.map(([from, to, label]) => {
    let row = ends.findIndex((end) => end <= from);
    if (row < 0) row = ends.length < 3 ? ends.length : 2;
    ends[row] = Math.max(to, from + 1e-3);
    return { from, to, label, row };
  });
  const height = 20;
  return {
    title: "labels",
    height: Math.max(ends.length, 1) * height + 2,
    gap: 10,
    named: true,
    draw(pen, top) {
      pen.frame(top, this.height);
      pen.title(this.title, top + 3);
      pen.inPlot(top, this.height, (paper) => {
        for (const { from, to, label, row } of placed) {
          if (to < pen.view.from || from > pen.view.to) continue;
          const [left, right, y] = [Math.max(pen.x(from), pen.left), Math.min(pen.x(to), pen.left + pen.plot), top + 1 + row * height];
          const width = Math.max(right - left, 2);
          paper.fillStyle = pen.colours.mark;
          paper.globalAlpha = 0.22;
          paper.fillRect(left, y + 2, width, height - 4);
          paper.globalAlpha = 1;
          paper.fillRect(pen.x(from), y + 2, 2, height - 4);
          if (width > 22) pen.text(label, left + 6, y + height / 2, { colour: pen.colours.ink, size: 11, most: width - 10 });
        }
      });
    },
    tell(time_s, y, pen) {
      const near = (pen.view.length / pen.plot) * 3;
      return placed.filter((one) => one.from - near <= time_s && time_s <= Math.max(one.to, one.from + near)).slice(0, 3).map((one) => ["label", one.label]);
    },
  };
}

// Channels of one unit. Where a pixel has several bins: from the least to the greatest; else lines through them.
function signalTrack(signal, number) {
  const names = signal.channels.map((channel) => channel.name.replace(/^(a|g|w)(?=[xyz]$)/, ""));
  const colours = ["c0", "c1", "c2", "c3", "c4", "c5"];
  const levelFor = (pen) => {
    const bins = pen.view.length / pen.plot / signal.bin_s;
    return Math.min(Math.max(Math.floor(Math.log2(Math.max(bins, 1))), 0), signal.channels[0].levels.length - 1);
  };

  function rangeOf(pen, level) {
    const bin_s = signal.bin_s * 2 ** level;
    let [low, high] = [Infinity, -Infinity];
    for (const channel of signal.channels) {
      const bins = channel.levels[level];
      const last = Math.min(Math.ceil(pen.view.to / bin_s), bins.low.length);
      for (let bin = Math.max(Math.floor(pen.view.from / bin_s), 0); bin < last; bin++) {
        if (bins.low[bin] === NOTHING) continue;
        low = Math.min(low, bins.low[bin] * channel.step);
        high = Math.max(high, bins.high[bin] * channel.step);
      }
    }
    if (low > high) return null;
    // To round steps, so that the scale does not tremble while one moves.
    const step = niceStep((high - low || Math.abs(high) || 1) / 4);
    const part = step / 4;
    return { low: Math.floor(low / part) * part, high: Math.ceil(high / part) * part + (high === low ? step : 0), step };
  }

  // A bin of several samples is a bar from the least to the greatest, joined to the one before it.
  function drawBars(pen, paper, channel, level, y) {
    const bin_s = signal.bin_s * 2 ** level;
    const bins = channel.levels[level];
    const last = Math.min(Math.ceil(pen.view.to / bin_s), bins.low.length);
    let [below, above] = [Infinity, -Infinity];
    for (let bin = Math.max(Math.floor(pen.view.from / bin_s), 0); bin < last; bin++) {
      if (bins.low[bin] === NOTHING) {
        [below, above] = [Infinity, -Infinity];
        continue;
      }
      const [low, high] = [bins.low[bin], bins.high[bin]];
      const isFirst = below === Infinity;
      const top = y(Math.max(high, isFirst ? high : below) * channel.step);
      const bottom = y(Math.min(low, isFirst ? low : above) * channel.step);
      const left = Math.round(pen.x(bin * bin_s));  // whole pixels: bars meet without a seam
      paper.fillRect(left, top, Math.max(Math.round(pen.x((bin + 1) * bin_s)) - left, 1), Math.max(bottom - top, 1.2));
      [below, above] = [low, high];
    }
  }

  function drawLine(pen, paper, channel, level, y) {
    const bin_s = signal.bin_s * 2 ** level;
    const bins = channel.levels[level];
    const first = Math.max(Math.floor(pen.view.from / bin_s) - 1, 0);
    const last = Math.min(Math.ceil(pen.view.to / bin_s) + 1, bins.low.length);
    const width = (bin_s / pen.view.length) * pen.plot;
    const longest_s = Math.max(0.25, 2.5 * bin_s);  // longer without a sample is a gap
    paper.beginPath();
    let [last_s, points] = [-Infinity, 0];
    for (let bin = first; bin < last; bin++) {
      if (bins.low[bin] === NOTHING) continue;
      const time_s = (bin + 0.5) * bin_s;
      const [low, high] = [bins.low[bin] * channel.step, bins.high[bin] * channel.step];
      const x = pen.x(time_s);
      if (time_s - last_s > longest_s) paper.moveTo(x, y(low));
      else paper.lineTo(x, y(low));
      if (high !== low) paper.lineTo(x, y(high));
      last_s = time_s;
      points += 1;
    }
    paper.stroke();
    if (width < 7 || points > 400) return;
    for (let bin = first; bin < last; bin++) {
      if (bins.low[bin] === NOTHING) continue;
      paper.beginPath();
      paper.arc(pen.x((bin + 0.5) * bin_s), y(bins.high[bin] * channel.step), 2, 0, 7);
      paper.fill();
    }
  }

  return {
    title: signal.title,
    height: 112,
    gap: 10,
    named: true,
    draw(pen, top) {
      pen.frame(top, this.height);
      pen.title(signal.title, top, signal.unit);
      names.forEach((name, place) => {
        const y = top + 42 + place * 15;
        pen.paper.fillStyle = pen.colours[colours[place % 6]];
        pen.paper.fillRect(3, y - 2, 12, 3);
        pen.text(name, 20, y, { size: 11, most: pen.left - 56 });
      });
      const level = levelFor(pen);
      const range = rangeOf(pen, level);
      if (!range) {
        pen.text("no sample here", pen.left + 8, top + 14, { size: 11 });
        return;
      }
      const y = (value) => top + 5 + ((range.high - value) / (range.high - range.low)) * (this.height - 10);
      for (let tick = Math.ceil(range.low / range.step); tick <= range.high / range.step + 1e-6; tick++) {
        const at = y(tick * range.step);
        pen.paper.fillStyle = pen.colours.line;
        pen.paper.fillRect(pen.left, Math.round(at), pen.plot, 1);
        pen.figure(shortNumber(tick * range.step, range.step), at, top, this.height);
      }
      pen.inPlot(top, this.height, (paper) => {
        paper.lineWidth = 1.2;
        paper.lineJoin = "round";
        paper.globalAlpha = 0.8;  // what lies below is still seen
        signal.channels.forEach((channel, place) => {
          paper.strokeStyle = paper.fillStyle = pen.colours[colours[place % 6]];
          (signal.is_whole && !level ? drawLine : drawBars)(pen, paper, channel, level, y);
        });
      });
    },
    tell(time_s, _y, pen) {
      const level = levelFor(pen);
      const bin = Math.floor(time_s / (signal.bin_s * 2 ** level));
      const words = signal.channels.map((channel, place) => {
        const bins = channel.levels[level];
        const near = [0, -1, 1, -2, 2].map((by) => bin + by).find((one) => one >= 0 && one < bins.low.length && bins.low[one] !== NOTHING);
        if (near === undefined) return `${names[place]} –`;
        const [low, high] = [bins.low[near] * channel.step, bins.high[near] * channel.step];
        const [a, b] = [shortNumber(low, 0.01), shortNumber(high, 0.01)];
        return a === b ? `${names[place]} ${a}` : `${names[place]} ${a} to ${b}`;
      });
      return [[`${signal.title}, ${signal.unit}`, words.join("\n")]];
    },
    key: `signal${number}`,
  };
}

function niceStep(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((part) => part * power >= value * 0.999) * power;
}

function shortNumber(value, step) {
  const decimals = Math.min(Math.max(-Math.floor(Math.log10(step) + 1e-9), 0), 4);
  return value.toFixed(decimals).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");
}

function soundTrack(one, kept) {
  const image = document.createElement("canvas");
  const tall = 128;
  const bandAt = (y) => Math.min(Math.max(Math.floor((1 - y / tall) * one.bands), 0), one.bands - 1);
  const levelFor = (pen) => {
    const columns = pen.view.length / (pen.plot * pen.scale) / one.column_s;
    return Math.min(Math.max(Math.floor(Math.log2(Math.max(columns, 1))), 0), one.levels.length - 1);
  };

  // A pixel a column of the screen, a pixel a band; stretched when it is drawn.
  function paint(pen) {
    const level = levelFor(pen);
    const shades = one.levels[level];
    const column_s = one.column_s * 2 ** level;
    const columns = Math.max(Math.round(pen.plot * pen.scale), 1);
    image.width = columns;
    image.height = one.bands;
    const paper = image.getContext("2d");
    const pixels = paper.createImageData(columns, one.bands);
    const count = shades.length / one.bands;
    for (let x = 0; x < columns; x++) {
      const column = Math.floor((pen.view.from + ((x + 0.5) / columns) * pen.view.length) / column_s);
      if (column < 0 || column >= count) continue;
      for (let band = 0; band < one.bands; band++) {
        const shade = shades[column * one.bands + band];
        if (!shade) continue;
        const to = 4 * ((one.bands - 1 - band) * columns + x);
        const [red, green, blue] = pen.colours.shades[shade];
        pixels.data[to] = red;
        pixels.data[to + 1] = green;
        pixels.data[to + 2] = blue;
        pixels.data[to + 3] = 255;
      }
    }
    paper.putImageData(pixels, 0, 0);
  }

  return {
    title: "sound",
    height: tall + (kept.isWhole || !kept.spans.length ? 0 : 9),  // below it, what can be played
    gap: 10,
    named: true,
    draw(pen, top) {
      pen.frame(top, this.height);
      pen.title(this.title, top, "kHz");
      paint(pen);
      pen.inPlot(top + 1, this.height - 2, (paper) => {
        paper.imageSmoothingEnabled = false;
        paper.drawImage(image, pen.left, top + 1, pen.plot, tall - 2);
        paper.imageSmoothingEnabled = true;
        if (!kept.isWhole) {
          for (const [from, to] of kept.spans) {
            if (to < pen.view.from || from > pen.view.to) continue;
            paper.fillStyle = pen.colours.sound;
            paper.fillRect(pen.x(from), top + tall + 2, Math.max(pen.x(to) - pen.x(from), 1.5), 5);
          }
        }
      });
      let last = Infinity;
      for (const frequency of FREQUENCIES) {
        const place = one.edges_hz.findIndex((edge) => edge >= frequency);
        if (place < 1) continue;
        const part = place - 1 + (frequency - one.edges_hz[place - 1]) / (one.edges_hz[place] - one.edges_hz[place - 1]);
        const y = top + (1 - part / one.bands) * tall;
        if (last - y < 13) continue;
        last = y;
        pen.figure(String(frequency / 1000), y, top, tall);
      }
    },
    tell(time_s, y, pen) {
      const level = levelFor(pen);
      const column = Math.floor(time_s / (one.column_s * 2 ** level));
      const shades = one.levels[level].subarray(column * one.bands, (column + 1) * one.bands);
      const decibel = (shade) => `${(one.low_db + ((shade - 1) / 62) * (one.high_db - one.low_db)).toFixed(0).replace("-", "−")} dB`;
      if (!shades.length || !shades[0]) return [["sound", "none"]];
      if (y === null) {
        const loudest = shades.indexOf(Math.max(...shades));
        return [["sound, loudest", `${decibel(shades[loudest])} at ${hertz(loudest)}`]];
      }
      const band = bandAt(y);
      return [["sound", `${shades[band] === 1 ? "≤ " : ""}${decibel(shades[band])} at ${hertz(band)}`]];
    },
  };

  function hertz(band) {
    return `${Math.round((one.edges_hz[band] + one.edges_hz[band + 1]) / 2)} Hz`;
  }
}

// The states of one sensor, told by colour and by form: a well one is a thin line.
function healthTrack(sensor, end_s) {
  const runs = sensor.runs.map(([from, state, reason], place) => ({ from, to: sensor.runs[place + 1]?.[0] ?? end_s, state, reason }));
  return {
    title: sensor.name,
    height: 16,
    gap: 4,
    named: true,
    draw(pen, top) {
      pen.text(sensor.name, pen.left - 8, top + 8, { colour: pen.colours.ink, align: "right", size: pen.small ? 11 : 12, most: pen.left - 10 });
      pen.frame(top, this.height);
      pen.inPlot(top, this.height, (paper) => {
        for (const { from, to, state } of runs) {
          if (to < pen.view.from || from > pen.view.to) continue;
          const [left, right] = [Math.max(pen.x(from), pen.left), Math.min(pen.x(to), pen.left + pen.plot)];
          drawState(paper, pen.colours, state, left, top + 1, Math.max(right - left, 1.5), this.height - 2);
        }
      });
    },
    tell(time_s) {
      const run = runs.find((one) => one.from <= time_s && time_s < one.to);
      return run ? [[sensor.name, run.reason ? `${run.state}: ${run.reason}` : run.state]] : [];
    },
  };
}

function drawState(paper, colours, state, left, top, width, height) {
  const middle = top + height / 2;
  paper.save();
  paper.beginPath();
  paper.rect(left, top, width, height);
  paper.clip();
  if (state === "live") {
    paper.fillStyle = colours.good;
    paper.fillRect(left, middle - 2, width, 4);
  } else if (state === "warming" || state === "stale") {
    paper.fillStyle = state === "stale" ? colours.bad : colours.soft;
    for (let x = Math.floor(left / 8) * 8; x < left + width; x += 8) paper.fillRect(x, middle - 1.5, 4, 3);
  } else if (state === "doubted" || state === "faulty") {
    paper.fillStyle = state === "faulty" ? colours.bad : colours.warn;
    paper.fillRect(left, state === "faulty" ? top : top + 3, width, state === "faulty" ? height : height - 6);
    paper.strokeStyle = colours.card;
    paper.lineWidth = 2;
    paper.beginPath();
    for (let x = Math.floor((left - height) / 9) * 9; state === "doubted" && x < left + width; x += 9) {
      paper.moveTo(x, top + height);
      paper.lineTo(x + height, top);
    }
    paper.stroke();
  }
  paper.restore();
}
