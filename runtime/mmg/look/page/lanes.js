// Decisions and labels. A track has a title, a height, draw(pen, top), and tell(time, y): rows of words for the tip.
const MOST_LANES = 16;

// A row for each label: what was decided, as strong as the confidence, and the truth as a frame around it.
function laneTrack(decisions) {
  const { labels } = facts;
  const time = new Float64Array(labels.length);
  const hasTruth = facts.truth.length > 0;
  for (let place = 0; place < decisions.count; place++) time[decisions.label[place]] += decisions.hop_s;
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
    if (perColumn < decisions.hop_s) {
      for (let place = first; place < decisions.count && decisions.end_s[place] - decisions.hop_s < view.to; place++) {
        const lane = laneOf[decisions.label[place]];
        const [from, to] = [pen.x(decisions.end_s[place] - decisions.hop_s), pen.x(decisions.end_s[place])];
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
    for (let place = first; place < decisions.count && decisions.end_s[place] - decisions.hop_s < view.to; place++) {
      const column = Math.floor((decisions.end_s[place] - decisions.hop_s / 2 - view.from) / perColumn);
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
        const column = Math.min(Math.max(Math.floor(pen.x(decisions.end_s[place] - decisions.hop_s) - pen.left + 1e-6), 0), columns - 1);
        (isWrong(decisions, place) ? wrong : right)[laneOf[decisions.label[place]] * columns + column] += 1;
        all[column] += 1;
      }
      const least = pen.plot / Math.max(pen.view.total_s / decisions.hop_s, 1);
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
        if (pen.view.length / pen.plot < decisions.hop_s) {
          paper.beginPath();
          let last_s = -Infinity;
          for (let place = first; place < decisions.count && decisions.end_s[place] - decisions.hop_s < pen.view.to; place++) {
            const [from, to] = [decisions.end_s[place] - decisions.hop_s, decisions.end_s[place]];
            if (from - last_s > decisions.hop_s / 2) paper.moveTo(pen.x(from), y(decisions.confidence[place]));
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
    for (let place = first; place < decisions.count && decisions.end_s[place] - decisions.hop_s < pen.view.to; place++) {
      const column = Math.floor(pen.x(decisions.end_s[place] - decisions.hop_s / 2) - pen.left);
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
