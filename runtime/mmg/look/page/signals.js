// Signals and sound, each at the level of detail that suits what is seen.
const FREQUENCIES = [100, 250, 500, 1000, 2000, 4000, 8000, 16000];

// Channels of one unit. Where a pixel has several bins: from the least to the greatest; else lines through them.
function signalTrack(signal) {
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
