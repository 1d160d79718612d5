// Pixels as they travel: bytes in base64, channel by channel, row by row.

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

const textOf = (bytes) => {
  let text = "";
  for (let start = 0; start < bytes.length; start += 32768) text += String.fromCharCode(...bytes.subarray(start, start + 32768));
  return btoa(text);
};

// One channel is gray, three or more are red, green and blue; of two, which are two views, the first is shown.
const paint = (canvas, text, [channels, height, width]) => {
  const bytes = bytesOf(text);
  const area = height * width;
  const shown = channels >= 3 ? [0, area, 2 * area] : [0, 0, 0];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let place = 0; place < area; place++) {
    shown.forEach((start, colour) => (image.data[4 * place + colour] = bytes[start + place]));
    image.data[4 * place + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
};

const grayOf = (text, [channels, height, width]) => {
  const bytes = bytesOf(text);
  const area = height * width;
  return Float32Array.from({ length: area }, (_, place) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += bytes[channel * area + place];
    return sum / channels;
  });
};

// ColorBrewer's purple to orange: less and more than an even share, as in the figures.
const SHADES = ["2d004b", "542788", "8073ac", "b2abd2", "d8daeb", "f7f6f6", "fee0b6", "fdb863", "e08214", "b35806", "7f3b08"];

// From -1 to 1.
const shade = (value) => {
  const place = within((value + 1) / 2, 0, 1) * (SHADES.length - 1);
  const low = Math.min(Math.floor(place), SHADES.length - 2);
  const [from, to] = [SHADES[low], SHADES[low + 1]];
  return [0, 2, 4].map((at) => {
    const [a, b] = [from, to].map((colour) => parseInt(colour.slice(at, at + 2), 16));
    return Math.round(a + (b - a) * (place - low));
  });
};

// The map in the frame of the image, whose bright regions are outlined.
const paintMap = (canvas, map, limit, extent, gray, [, height, width]) => {
  const scale = Math.max(4, Math.round(280 / Math.max(height, width)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.fillStyle = `#${SHADES[5]}`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  const step = [(extent.right - extent.left) / map[0].length, (extent.bottom - extent.top) / map.length];
  map.forEach((row, y) =>
    row.forEach((value, x) => {
      context.fillStyle = `rgb(${shade(value / limit)})`;
      const [left, top] = [extent.left + x * step[0], extent.top + y * step[1]];
      const [right, bottom] = [left + step[0], top + step[1]].map((end) => Math.ceil(end * scale));
      context.fillRect(Math.floor(left * scale), Math.floor(top * scale), right - Math.floor(left * scale), bottom - Math.floor(top * scale));
    }),
  );
  outline(context, gray, height, width, scale);
};

const outline = (context, gray, height, width, scale) => {
  const middle = (Math.min(...gray) + Math.max(...gray)) / 2;
  const isBright = (y, x) => y >= 0 && x >= 0 && y < height && x < width && gray[y * width + x] > middle;
  context.beginPath();
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (isBright(y, x) !== isBright(y - 1, x)) context.rect(x * scale, y * scale, scale, 0);
      if (isBright(y, x) !== isBright(y, x - 1)) context.rect(x * scale, y * scale, 0, scale);
    }
  }
  context.lineWidth = 1.5;
  context.strokeStyle = "#303030";
  context.stroke();
};
