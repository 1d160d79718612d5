// What the page asks, answered here: files beside the page hold the network, and ONNX Runtime computes it.

import * as ort from "./runtime/ort.js";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = Object.fromEntries(
  [["mjs", "wasm.js"], ["wasm", "wasm.wasm"]].map(([kind, file]) => [kind, new URL(`runtime/${file}`, location.href).href]),
);

let data = null; // what data.json holds
let turn = Promise.resolve(); // a network answers one question at a time
const sessions = new Map();
let seen = null; // the last image, and what the network says of it

const ask = (name, question) => {
  const answer = turn.then(() => (name === "about" ? begun() : answers[name](question)));
  turn = answer.catch(() => {});
  return answer;
};

const fetched = async (file) => {
  const response = await fetch(file).catch(() => null);
  if (!response?.ok) throw new Error(`${file} cannot be read: open this page from a web server, with all files beside it.`);
  return response;
};

const begun = async () => {
  data = await (await fetched("data.json")).json();
  return data.about;
};

const computed = async (part, inputs) => {
  if (!sessions.has(part)) {
    const file = new Uint8Array(await (await fetched(`${part}.onnx`)).arrayBuffer());
    sessions.set(part, await ort.InferenceSession.create(file, { executionProviders: ["wasm"] }));
  }
  return sessions.get(part).run(inputs);
};

const tensor = (type, numbers, shape) => new ort.Tensor(type, numbers, shape);

const encode = async (text) => {
  if (seen?.text === text) return seen;
  const [channels, height, width] = data.about.runs[0].image;
  const images = tensor("float32", Float32Array.from(bytesOf(text), (shade) => shade / 255), [1, channels, height, width]);
  const { scores, poses } = await computed("encoder", { images });
  const { dim } = data.about.runs[0];
  const rows = Array.from({ length: scores.data.length }, (_, row) => Array.from(poses.data.slice(row * dim, (row + 1) * dim)));
  seen = { text, images, scores: Array.from(scores.data), poses: rows };
  return seen;
};

// Images from the capsule of a class, moved in several ways: shades from 0 to 1, one after the other.
const decode = async (poses, of, offsets) => {
  const moved = offsets.flatMap((row) => poses.flatMap((pose, label) => (label === of ? pose.map((x, place) => x + row[place]) : pose)));
  const { reconstruction } = await computed("decoder", {
    poses: tensor("float32", Float32Array.from(moved), [offsets.length, poses.length, poses[0].length]),
    labels: tensor("int64", BigInt64Array.from(offsets, () => BigInt(of)), [offsets.length]),
  });
  const size = reconstruction.data.length / offsets.length;
  return offsets.map((_, row) => reconstruction.data.slice(row * size, (row + 1) * size));
};

const textOfShades = (shades) => textOf(Uint8ClampedArray.from(shades, (shade) => Math.round(255 * shade)));

const middle = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
};

// The median shade of the outermost pixels.
const border = (bytes, [channels, height, width]) => {
  const shades = [];
  for (let channel = 0; channel < channels; channel++) {
    const at = (y, x) => bytes[(channel * height + y) * width + x];
    for (let x = 0; x < width; x++) shades.push(at(0, x), at(height - 1, x));
    for (let y = 0; y < height; y++) shades.push(at(y, 0), at(y, width - 1));
  }
  return middle(shades);
};

const isToTurn = (text, polarity) => {
  const { ground, image } = data.about.runs[0];
  if (polarity !== "auto" || !ground) return polarity === "turn";
  return ground === "dark" ? border(bytesOf(text), image) > 127 : border(bytesOf(text), image) < 128;
};

// Red, green and blue of a picture on the background of the training.
const opened = async (text) => {
  const picture = await createImageBitmap(new Blob([bytesOf(text)])).catch(() => null);
  if (!picture) throw new Error("The picture cannot be read by this browser.");
  const canvas = make("canvas", { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(${Array(3).fill(data.background)})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0);
  const shades = context.getImageData(0, 0, canvas.width, canvas.height).data.filter((_, place) => place % 4 !== 3);
  return { shades: Uint8Array.from(shades), shape: [1, canvas.height, canvas.width, 3] };
};

const prepared = async ({ shades, shape }) => {
  const { pixels } = await computed("pictures", { pictures: tensor("uint8", shades, shape) });
  return textOfShades(pixels.data);
};

const exchanged = (bytes) => Uint8Array.from(bytes, (shade) => 255 - shade);

const answers = {
  async look({ picture, test, polarity, class: wanted }) {
    let text = picture ? null : data.tests[test].pixels;
    let shown = null;
    if (picture) {
      shown = await opened(picture);
      text = await prepared(shown);
    }
    const turned = isToTurn(text, polarity);
    if (turned) text = shown ? await prepared({ ...shown, shades: exchanged(shown.shades) }) : textOf(exchanged(bytesOf(text)));
    const { scores, poses } = await encode(text);
    const order = ranked(scores);
    const [about] = data.about.runs;
    const winners = about.kind === "score" ? order.slice(0, 1) : order.slice(0, 2).filter((label) => scores[label] > about.long);
    const of = wanted ?? order[0];
    const usual = data.usual[of]?.map((row) => row.map((x, place) => x - poses[of][place])) ?? null;
    const still = [Array(about.dim).fill(0)];
    const rebuild = async (label) => (about.rebuilds ? textOfShades((await decode(poses, label, still))[0]) : null);
    const rebuilt = await rebuild(of);
    const other = winners.length === 2 ? winners.find((label) => label !== of) : undefined;
    const beside = other === undefined ? null : { class: other, rebuilt: await rebuild(other) };
    const truth = picture ? null : data.tests[test].truth;
    return { pixels: text, turned, truth, scores, predicted: order[0], winners, class: of, pose: poses[of], usual, rebuilt, beside };
  },

  async rebuild({ pixels, class: of, offsets }) {
    const { poses } = await encode(pixels);
    return { images: (await decode(poses, of, offsets)).map((shades) => textOfShades(shades)) };
  },

  // How much each number of a pose changes a pixel from end to end of its range.
  async effects({ pixels, class: of }) {
    const { poses } = await encode(pixels);
    const { dim, reach } = data.about.runs[0];
    const moves = Array.from({ length: 2 * dim }, (_, row) =>
      Array.from({ length: dim }, (_, place) => (place === row >> 1 ? (row % 2 ? reach : -reach) : 0)),
    );
    const images = await decode(poses, of, moves);
    return {
      effects: Array.from({ length: dim }, (_, place) => {
        const [low, high] = [images[2 * place], images[2 * place + 1]];
        return low.reduce((sum, shade, at) => sum + Math.abs(high[at] - shade), 0) / low.length;
      }),
    };
  },

  async routing({ pixels, classes }) {
    if (data.routing.reason) return { reason: data.routing.reason };
    const { images } = await encode(pixels);
    const { maps, entropy, agreement } = await computed("routing", { images });
    const [steps, many, height, width] = maps.dims;
    const map = (step, label) =>
      Array.from({ length: height }, (_, y) => {
        const start = ((step * many + label) * height + y) * width;
        return Array.from(maps.data.slice(start, start + width), (share) => share - data.routing.even);
      });
    const each = Array.from({ length: steps }, (_, step) => step);
    return {
      ...data.routing,
      maps: each.map((step) => classes.map((label) => map(step, label))),
      entropy: Array.from(entropy.data),
      agreement: each.map((step) => classes.map((label) => agreement.data[step * many + label])),
    };
  },
};
