// Sound: blocks of IMA ADPCM, one a hop, decoded when they are played; and the cursor that runs with it.
const STEPS = [7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767];
const MOVES = [-1, -1, -1, -1, 2, 4, 6, 8];
const AHEAD_S = 20;  // how much is decoded at once

class Sound {
  constructor(kept) {
    this.kept = kept;
    let block = 0;
    this.pieces = (kept?.pieces ?? []).map(([first, count]) => {
      const piece = { from: first * facts.hop_s, to: (first + count) * facts.hop_s, block, count };
      block += count;
      return piece;
    });
    this.spans = this.pieces.map(({ from, to }) => [from, to]);
    this.isWhole = this.pieces.length === 1 && this.spans[0][1] - this.spans[0][0] >= facts.span_s - 2 * facts.hop_s;
  }

  get bytes() { return (this.read ??= bytesOf("sound")); }

  // The first piece that ends after this time.
  pieceAt(time_s) { return this.pieces.find((piece) => piece.to > time_s + 0.01); }

  // So many samples of a piece, from this block of it on.
  samplesOf(piece, first, count) {
    const length = this.kept.block_samples;
    const size = 4 + ((length + 1) >> 1);
    const samples = new Float32Array(count * length);
    for (let place = 0; place < count; place++) {
      const at = (piece.block + first + place) * size;
      decode(this.bytes.subarray(at, at + size), samples.subarray(place * length, (place + 1) * length));
    }
    return samples;
  }
}

function decode(block, samples) {
  let value = ((block[0] | (block[1] << 8)) << 16) >> 16;
  let index = block[2];
  for (let place = 0; place < samples.length; place++) {
    const code = (block[4 + (place >> 1)] >> (place & 1 ? 4 : 0)) & 15;
    const change = (STEPS[index] * (2 * (code & 7) + 1)) >> 3;
    value = Math.min(Math.max(value + (code & 8 ? -change : change), -32768), 32767);
    index = Math.min(Math.max(index + MOVES[code & 7], 0), 88);
    samples[place] = value / 32768;
  }
}

// Plays from a time on; without sound the cursor runs by the clock alone. say: called with a line for the reader.
class Player {
  constructor(sound, end_s, { moved, say, changed }) {
    Object.assign(this, { sound, end_s, moved, say, changed, at_s: 0, playing: false });
  }

  toggle() {
    if (this.playing) this.stop();
    else this.start(this.isOver ? 0 : this.at_s);
  }

  // Whether nothing is left to be played from here.
  get isOver() {
    return this.at_s >= this.end_s - 0.05 || (this.sound.pieces.length > 0 && !this.sound.pieceAt(this.at_s));
  }

  seek(time_s) {
    this.at_s = Math.min(Math.max(time_s, 0), this.end_s);
    if (this.playing) this.start(this.at_s);
    else this.moved(this.at_s);
  }

  start(time_s) {
    this.silence();
    this.at_s = time_s;
    this.playing = true;
    this.say("");
    if (this.sound.pieces.length && !this.schedule(time_s)) return;
    if (!this.sound.pieces.length) this.clockFrom(this.at_s, () => performance.now() / 1000);
    this.changed();
    this.run(++this.turn);
  }

  stop() {
    this.playing = false;
    this.silence();
    this.changed();
  }

  turn = 0;

  silence() {
    this.turn += 1;
    if (this.source) this.source.onended = null;
    this.source?.stop();
    this.source = null;
  }

  clockFrom(time_s, now) {
    const began = now();
    this.now = () => time_s + Math.max(now() - began, 0);
  }

  // Starts the sound at this time, or at the next piece there is. Whether there was one.
  schedule(time_s) {
    const piece = this.sound.pieceAt(time_s);
    if (!piece) {
      this.stop();
      if (!this.sound.isWhole) this.say("No sound was kept after this place.");
      return false;
    }
    if (piece.from > time_s + facts.hop_s) this.say(`No sound was kept at ${clock(time_s)}: on at ${clock(piece.from)}.`);
    this.at_s = Math.max(time_s, piece.from);
    this.context ??= new AudioContext();
    this.context.resume();
    const first = Math.floor((this.at_s - piece.from) / facts.hop_s + 1e-6);
    const count = Math.min(piece.count - first, Math.ceil(AHEAD_S / facts.hop_s));
    const samples = this.sound.samplesOf(piece, first, count);
    const buffer = this.context.createBuffer(1, samples.length, this.sound.kept.block_samples / facts.hop_s);
    buffer.copyToChannel(samples, 0);
    const begin_s = piece.from + first * facts.hop_s;
    this.source = this.context.createBufferSource();
    this.source.buffer = buffer;
    this.source.connect(this.context.destination);
    this.source.onended = () => this.start(begin_s + count * facts.hop_s);
    this.source.start(0, this.at_s - begin_s);
    this.clockFrom(this.at_s, () => this.context.currentTime);
    return true;
  }

  run(turn) {
    if (!this.playing || turn !== this.turn) return;
    this.at_s = Math.min(this.now(), this.end_s);
    this.moved(this.at_s);
    if (this.at_s >= this.end_s) this.stop();
    else requestAnimationFrame(() => this.run(turn));
  }
}
