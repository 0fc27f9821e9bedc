// How each sensor was.
const STATES = ["live", "warming", "doubted", "stale", "faulty", "absent", "asleep"];

// The states of one sensor, told by colour and by form: a well one is a thin line.
function healthTrack(sensor, end_s) {
  const runs = sensor.runs.map(([from, state, reason], place) => ({ from, to: sensor.runs[place + 1]?.[0] ?? end_s, state, reason }));
  return {
    title: sensor.name,
    height: 16,
    gap: 4,
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
