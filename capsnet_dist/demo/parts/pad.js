// The drawing: strokes as lines, so that they can be moved and scaled as the training images are, at the same thickness.

const SIDE = 256; // pixels of a drawing that is sent, at least

class Pad {
  constructor(canvas, about, changed) {
    const [channels, height, width] = about.image;
    this.canvas = canvas;
    this.changed = changed;
    this.aspect = height / width;
    this.frame = about.frame;
    this.pen = about.frame ? about.frame.stroke : 0.08;
    this.centred = Boolean(about.frame);
    this.paper = about.ground === "light" ? "white" : "black";
    this.colour = about.ground === "light" ? "#000000" : "#ffffff";
    this.isColoured = channels >= 3;
    this.factor = Math.max(1, Math.ceil(SIDE / width));
    this.size = [width * this.factor, height * this.factor];
    this.strokes = [];
    this.shown = null; // a picture or a test image, until something is drawn
    this.cursor = null;
    this.box = null; // where the pad is on the page, while one draws: to ask for it costs a layout
    this.sent = make("canvas", { width: this.size[0], height: this.size[1] });
    canvas.width = 2 * SIDE;
    canvas.height = Math.round(2 * SIDE * this.aspect);
    this.listen();
    this.draw();
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.box = canvas.getBoundingClientRect();
      this.begin(this.place(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.strokes.at(-1).points.push(this.place(each));
      this.drawn();
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.hideCursor());
    for (const name of ["scroll", "resize"]) addEventListener(name, () => (this.box = null));
  }

  place(event) {
    const box = (this.box ??= this.canvas.getBoundingClientRect());
    return [(event.clientX - box.left) / box.width, ((event.clientY - box.top) / box.height) * this.aspect];
  }

  begin(point) {
    this.hideCursor();
    this.shown = null;
    this.strokes.push({ points: [point], colour: this.colour });
    this.drawn();
  }

  drawn() {
    this.draw();
    this.changed();
  }

  undo() {
    this.strokes.pop();
    this.drawn();
  }

  clear() {
    this.strokes = [];
    this.shown = null;
    this.hideCursor();
    this.drawn();
  }

  fill(colour) {
    this.shown = null;
    this.strokes = [{ points: [], colour }];
    this.drawn();
  }

  show(image) {
    this.strokes = [];
    this.shown = image;
    this.hideCursor();
    this.draw();
  }

  key(event) {
    const step = 1 / 32;
    const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (event.key === "Escape") this.clear();
    else if (event.key === "Backspace" && !this.isEmpty) this.undo();
    else if (event.key === " ") this.dip();
    else if (way) this.go(way);
    else return;
    event.preventDefault();
  }

  dip() {
    const at = this.cursor?.at ?? [0.5, this.aspect / 2];
    const isDown = !this.cursor?.isDown;
    if (isDown) this.begin(at);
    this.cursor = { at, isDown };
    this.draw();
  }

  go([right, down]) {
    const { at, isDown } = this.cursor ?? { at: [0.5, this.aspect / 2], isDown: false };
    const next = [within(at[0] + right, 0, 1), within(at[1] + down, 0, this.aspect)];
    this.cursor = { at: next, isDown };
    if (isDown) this.strokes.at(-1).points.push(next);
    isDown ? this.drawn() : this.draw();
  }

  hideCursor() {
    if (!this.cursor) return;
    this.cursor = null;
    this.draw();
  }

  draw() {
    const context = this.canvas.getContext("2d");
    this.render(context, this.canvas.width, (point) => point);
    if (this.shown) {
      context.imageSmoothingEnabled = false;
      const { width, height } = this.canvas;
      const scale = Math.min(width / this.shown.width, height / this.shown.height);
      const [across, down] = [this.shown.width * scale, this.shown.height * scale];
      context.drawImage(this.shown, (width - across) / 2, (height - down) / 2, across, down);
    }
    if (this.cursor) {
      context.beginPath();
      context.arc(...this.cursor.at.map((part) => part * this.canvas.width), 9, 0, 7);
      context.lineWidth = 4;
      context.strokeStyle = this.cursor.isDown ? "#d55e00" : "#8c8c8c";
      context.stroke();
    }
  }

  render(context, width, moved, pen = this.pen) {
    context.fillStyle = this.paper;
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = pen * width;
    for (const { points, colour } of this.strokes) {
      context.strokeStyle = context.fillStyle = colour;
      if (points.length === 0) context.fillRect(0, 0, context.canvas.width, context.canvas.height);
      context.beginPath();
      points.forEach((point) => context.lineTo(...moved(point).map((part) => part * width)));
      if (points.length === 1) context.lineTo(...moved(points[0]).map((part) => part * width + 0.01));
      context.stroke();
    }
  }

  // A picture as a file, in base64: what a network's own preprocessing begins with, framed as its training images are.
  file({ frame }) {
    const pen = frame && this.frame && this.centred ? (this.pen * frame.stroke) / this.frame.stroke : this.pen;
    const context = this.sent.getContext("2d", { willReadFrequently: true });
    this.render(context, this.sent.width, this.mover(frame, pen), pen);
    return this.sent.toDataURL("image/png").split(",")[1];
  }

  // From where a point was drawn to where training images would have it.
  mover(frame, pen) {
    const points = this.strokes.flatMap((stroke) => stroke.points);
    if (!this.centred || !frame || !points.length) return (point) => point;
    const ends = [0, 1].map((axis) => [Math.min(...points.map((p) => p[axis])), Math.max(...points.map((p) => p[axis]))]);
    const longest = Math.max(...ends.map(([low, high]) => high - low));
    const wanted = Math.max(frame.side * Math.min(1, this.aspect) - pen, 0.1);
    const scale = Math.min(wanted / Math.max(longest, 1e-6), 4); // a dot stays a dot
    const middle = ends.map(([low, high]) => (low + high) / 2);
    const target = [frame.x, frame.y * this.aspect];
    return (point) => point.map((part, axis) => target[axis] + (part - middle[axis]) * scale);
  }
}
