// The couplings of the parts, iteration by iteration, as a map over the drawing.

const SHOWN = 4;

class Routing {
  constructor(root, about, number) {
    Object.assign(this, { about, number });
    this.root = find(".routing", root);
    this.found = null;
    this.step = null; // the last one, until another is chosen
    this.slider = find(".stepper input", this.root);
    this.slider.setAttribute("aria-label", "iteration of the routing");
    this.slider.oninput = () => this.go(Number(this.slider.value) - 1);
    this.button = find(".play", this.root);
    this.button.onclick = () => this.play();
    const many = this.about.classes.length;
    find(".explained", this.root).textContent =
      "Small capsules all over the image vote for what the whole is. In each iteration those whose votes agree with a class " +
      `give it more of their share. Orange: parts here give the class more than an even share (1/${many}); purple: less.`;
    this.legend();
    this.latest = new Latest((answer) => this.fetch(answer));
    this.settled = new Settled((answer) => this.latest.ask(answer), 120);
  }

  show(answer) {
    this.wanted = answer;
    this.settled.ask(answer);
  }

  async fetch(answer) {
    if (answer !== this.wanted) return; // something else was drawn meanwhile, or nothing is any more
    const order = ranked(answer.scores);
    const classes = [...new Set([...order.slice(0, SHOWN), answer.class])];
    const found = await ask("routing", { run: this.number, pixels: answer.pixels, classes });
    this.say(found.reason);
    if (found.reason || answer !== this.wanted) return;
    this.found = { ...found, classes, winners: answer.winners, gray: grayOf(answer.pixels, this.about.image) };
    this.found.limit = Math.max(...found.maps.flat(3).map(Math.abs), 1e-6);
    this.found.most = Math.max(...found.agreement.flat().map(Math.abs), 1e-6);
    this.build();
    this.draw();
  }

  say(reason) {
    for (const part of [".explained", ".stepper", ".maps", ".scale", ".open"]) find(part, this.root).hidden = Boolean(reason);
    const none = find(".none", this.root);
    none.hidden = !reason;
    none.textContent = reason ? `There are no couplings to show: ${reason}.` : "";
  }

  build() {
    const { classes, winners, maps } = this.found;
    this.slider.max = maps.length;
    find(".stepper", this.root).hidden = maps.length < 2;
    this.figures = classes.map((label) => {
      const canvas = make("canvas");
      canvas.setAttribute("role", "img");
      const [fill, value] = [make("span", { className: "fill" }), make("span")];
      const name = make("b", { textContent: this.about.classes[label] });
      const caption = make("figcaption", {}, make("span", {}, name, " ", value), make("span", { className: "track" }, fill));
      return { canvas, fill, value, element: make("figure", { className: winners.includes(label) ? "won" : "" }, canvas, caption) };
    });
    find(".maps", this.root).replaceChildren(...this.figures.map((figure) => figure.element));
  }

  get last() {
    return this.found.maps.length - 1;
  }

  draw() {
    const { maps, agreement, entropy, limit, most, extent, gray, classes, even } = this.found;
    const step = Math.min(this.step ?? this.last, this.last);
    this.slider.value = step + 1;
    find(".step", this.root).textContent = `Iteration ${step + 1} of ${maps.length}`;
    this.figures.forEach(({ canvas, fill, value }, place) => {
      paintMap(canvas, maps[step][place], limit, extent, gray, this.about.image);
      const agreed = agreement[step][place];
      canvas.setAttribute("aria-label", `Couplings with class ${this.about.classes[classes[place]]}, iteration ${step + 1}`);
      fill.style.transform = `scaleX(${Math.max(agreed, 0) / most})`;
      value.textContent = `votes agree ${decimals(agreed, 3)}`;
    });
    find(".low", this.root).textContent = `−${decimals(limit, 3)}`;
    find(".high", this.root).textContent = `+${decimals(limit, 3)} beside an even share of ${decimals(even, 3)}`;
    find(".open", this.root).textContent =
      `${count(this.found.parts, "part")}. How undecided they are (entropy; 1: even shares, 0: each for one class): ` +
      `${entropy.map((value) => decimals(value, 3)).join(" → ")}`;
  }

  go(step) {
    this.step = step;
    if (this.found) this.draw();
  }

  play() {
    clearInterval(this.timer);
    if (!this.found) return;
    this.go(0);
    this.timer = setInterval(() => {
      this.go(this.step + 1);
      if (this.step >= this.last) clearInterval(this.timer);
    }, 900);
  }

  legend() {
    const canvas = find(".scale canvas", this.root);
    const context = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x++) {
      context.fillStyle = `rgb(${shade((2 * x) / (canvas.width - 1) - 1)})`;
      context.fillRect(x, 0, 1, 1);
    }
  }

  clear() {
    this.found = this.wanted = null;
    clearInterval(this.timer);
    find(".maps", this.root).replaceChildren();
    for (const part of [".step", ".low", ".high", ".open"]) find(part, this.root).textContent = "";
  }
}
