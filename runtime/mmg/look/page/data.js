"use strict";
// What the page holds: facts as JSON, and arrays in one deflated block.
const root = document.documentElement;
addEventListener("error", (event) => { root.dataset.error = event.message; });
addEventListener("unhandledrejection", (event) => { root.dataset.error = String(event.reason); });

const facts = JSON.parse(document.getElementById("facts").textContent);
const NOTHING = -32768;  // an empty bin

function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return bytes;
}

async function inflated(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// An array of the block; whole numbers of two bytes lie there as all low bytes, then all high bytes.
function arrayOf(block, name) {
  const { type, at, count } = facts.arrays[name];
  if (type === "uint8") return block.subarray(at, at + count);
  const values = new Int16Array(count);
  for (let place = 0; place < count; place++) values[place] = block[at + place] | (block[at + count + place] << 8);
  return values;
}

// Levels of detail: each has half the bins of the one before, with the least and the greatest of two.
function pyramidOf(low, high) {
  const levels = [{ low, high }];
  while (levels[levels.length - 1].low.length > 256) {
    const finer = levels[levels.length - 1];
    const count = (finer.low.length + 1) >> 1;
    const coarser = { low: new Int16Array(count), high: new Int16Array(count) };
    for (let place = 0; place < count; place++) {
      const one = 2 * place;
      const two = Math.min(one + 1, finer.low.length - 1);
      const empty = finer.low[one] === NOTHING;
      const other = finer.low[two] === NOTHING ? one : two;
      coarser.low[place] = empty ? finer.low[two] : Math.min(finer.low[one], finer.low[other]);
      coarser.high[place] = empty ? finer.high[two] : Math.max(finer.high[one], finer.high[other]);
    }
    levels.push(coarser);
  }
  return levels;
}

// The same for a spectrogram, with the mean of two columns; 0 is no sound.
function shadesOf(levels, bands) {
  const found = [levels];
  while (found[found.length - 1].length > 256 * bands) {
    const finer = found[found.length - 1];
    const columns = finer.length / bands;
    const coarser = new Uint8Array(((columns + 1) >> 1) * bands);
    for (let column = 0; column < columns; column += 2) {
      const one = column * bands;
      const two = column + 1 < columns ? one + bands : one;
      const to = (column >> 1) * bands;
      for (let band = 0; band < bands; band++) {
        const [a, b] = [finer[one + band], finer[two + band]];
        coarser[to + band] = a && b ? (a + b + 1) >> 1 : a || b;
      }
    }
    found.push(coarser);
  }
  return found;
}

function readSignals(block) {
  return facts.signals.map((signal) => ({
    ...signal,
    channels: signal.channels.map((channel) => {
      const low = arrayOf(block, channel.low);
      const apart = new Uint16Array(arrayOf(block, channel.apart).buffer);
      const high = low.map((value, place) => (value === NOTHING ? NOTHING : value + apart[place]));
      return { ...channel, levels: pyramidOf(low, high) };
    }),
  }));
}

function readSpectrograms(block) {
  return facts.spectrograms.map((one) => {
    const bands = one.edges_hz.length - 1;
    return { ...one, bands, levels: shadesOf(arrayOf(block, one.levels), bands) };
  });
}

function readDecisions(block) {
  const { count, hop_s, ...names } = facts.decisions;
  const low = arrayOf(block, names.low_steps);
  const high = arrayOf(block, names.high_steps);
  const end_s = new Float64Array(count);
  for (let place = 0, hops = 0; place < count; place++) {
    hops += low[place] + 16384 * high[place];
    end_s[place] = hops * hop_s;
  }
  return {
    count,
    hop_s,
    end_s,
    label: arrayOf(block, names.label),
    second: arrayOf(block, names.second),
    truth: arrayOf(block, names.truth),
    confidence: arrayOf(block, "confidence"),
    second_score: arrayOf(block, "second_score"),
  };
}

// The place of the first of these sorted values that is greater.
function after(values, value, count = values.length) {
  let [from, to] = [0, count];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (values[middle] > value) to = middle;
    else from = middle + 1;
  }
  return from;
}

// The place of the decision whose hop holds this time, or -1.
function decisionAt(decisions, time_s) {
  const place = after(decisions.end_s, time_s);
  return place < decisions.count && decisions.end_s[place] - decisions.hop_s <= time_s + 1e-9 ? place : -1;
}

function clock(time_s, decimals = 1) {
  const sign = time_s < 0 ? "−" : "";
  const scale = 10 ** decimals;
  const whole = Math.round(Math.abs(time_s) * scale);
  const seconds = Math.floor(whole / scale);
  const part = decimals ? `.${String(whole % scale).padStart(decimals, "0")}` : "";
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const head = hours ? `${hours}:${two(minutes)}` : `${minutes}`;
  return `${sign}${head}:${two(seconds % 60)}${part}`;
}
