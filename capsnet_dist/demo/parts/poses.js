// A slider for each number of a pose, what is rebuilt as it moves, and a strip of one number over its range.

const STEPS = 11;
const FEW = 16;

class Poses {
  constructor(root, about, number, onMove) {
    Object.assign(this, { root, about, number, onMove });
    this.offsets = Array(about.dim).fill(0);
    this.chosen = null;
    this.answer = null;
    this.isAll = about.dim <= FEW;
    this.order = this.offsets.map((_, place) => place);
    const section = find(".poses", root);
    section.hidden = !about.rebuilds;
    this.zero = find(".zero", section);
    this.zero.onclick = () => this.reset();
    this.more = find(".more", section);
    this.more.hidden = this.isAll;
    this.more.textContent = `All ${about.dim} numbers`;
    this.more.onclick = () => this.showAll();
    this.box = find(".sliders", section);
    this.stripBox = find(".strip", section);
    find(".explained", section).textContent =
      "The direction of a capsule says how its class is written. Each slider adds to one of its numbers, the strongest first; " +
      "the line beside a name is how much it changes the image. The marked part of a slider is where 96 % of the test images " +
      "of this class lie. A double click sets it to zero, a click on its name shows its whole range.";
    if (about.rebuilds) this.build();
    this.latest = new Latest(() => this.rebuild());
    this.latestStrip = new Latest(() => this.strip());
    this.effects = new Settled(() => this.sort().catch(complain), 350);
  }

  build() {
    this.sliders = this.offsets.map((_, place) => this.slider(place));
    this.tiles = Array.from({ length: STEPS }, (_, step) => this.tile(this.about.reach * ((2 * step) / (STEPS - 1) - 1)));
    find(".tiles", this.stripBox).append(...this.tiles.map((tile) => tile.button));
    this.arrange();
    this.mark();
  }

  slider(place) {
    const { reach } = this.about;
    const name = make("button", { type: "button", textContent: `number ${place}`, onclick: () => this.choose(place) });
    name.setAttribute("aria-pressed", "false");
    const input = make("input", { type: "range", min: -reach, max: reach, step: reach / 100, value: 0 });
    input.setAttribute("aria-label", `number ${place} of the pose`);
    const output = make("output", { textContent: "0" });
    const effect = make("span", { className: "effect" });
    const way = make("span", { className: "way" }, input);
    input.oninput = () => this.move(place, Number(input.value));
    input.ondblclick = () => this.move(place, 0);
    return { element: make("div", { className: "slider" }, name, effect, output, way), name, input, output, effect };
  }

  tile(offset) {
    const canvas = make("canvas");
    const button = make("button", { type: "button", onclick: () => this.move(this.chosen, offset) }, canvas, signed(offset));
    button.setAttribute("aria-label", `Set it to ${signed(offset)}`);
    return { offset, canvas, button };
  }

  // A new image, or a new class: what was moved stays only while one draws on.
  show(answer, isNew) {
    this.answer = answer;
    if (!this.about.rebuilds) return;
    if (isNew && this.isMoved) {
      this.offsets.fill(0);
      this.mark();
    }
    if (this.isMoved) this.latest.ask();
    if (this.chosen !== null) this.latestStrip.ask();
    this.effects.ask();
  }

  // Where usual poses lie, from here.
  markUsual() {
    this.sliders.forEach(({ input }, place) => {
      const ends = this.answer.usual?.map((row) => this.share(row[place])) ?? [0.5, 0.5];
      ["--low", "--high"].forEach((name, end) => input.style.setProperty(name, ends[end]));
    });
  }

  share(offset) {
    return within((offset / this.about.reach + 1) / 2, 0, 1);
  }

  get isMoved() {
    return this.offsets.some((offset) => offset !== 0);
  }

  move(place, offset) {
    this.offsets[place] = offset;
    this.mark();
    if (!this.answer) return;
    this.latest.ask();
    if (this.chosen !== null && this.chosen !== place) this.latestStrip.ask();
  }

  reset() {
    this.offsets.fill(0);
    this.mark();
    if (this.answer) this.latest.ask();
    if (this.chosen !== null && this.answer) this.latestStrip.ask();
  }

  mark() {
    this.zero.disabled = !this.isMoved;
    this.sliders.forEach(({ input, output }, place) => {
      input.value = this.offsets[place];
      output.textContent = signed(this.offsets[place]);
      const ends = [0.5, this.share(this.offsets[place])];
      input.style.setProperty("--from", Math.min(...ends));
      input.style.setProperty("--to", Math.max(...ends));
      input.setAttribute("aria-valuetext", signed(this.offsets[place]));
      output.classList.toggle("moved", this.offsets[place] !== 0);
    });
    const near = this.about.reach / (STEPS - 1);
    for (const { offset, button } of this.tiles) {
      button.setAttribute("aria-pressed", this.chosen !== null && Math.abs(this.offsets[this.chosen] - offset) < near);
    }
  }

  question(offsets) {
    return { run: this.number, pixels: this.answer.pixels, class: this.answer.class, offsets };
  }

  async rebuild() {
    if (!this.answer) return;
    const { images } = await ask("rebuild", this.question([this.offsets]));
    this.onMove(images[0]);
  }

  choose(place) {
    this.chosen = this.chosen === place ? null : place;
    this.sliders.forEach(({ name }, each) => name.setAttribute("aria-pressed", each === this.chosen));
    this.stripBox.hidden = this.chosen === null || !this.answer;
    if (this.chosen === null) return;
    this.mark();
    if (this.answer) this.latestStrip.ask();
  }

  async strip() {
    const { chosen } = this;
    if (chosen === null || !this.answer) return;
    const rows = this.tiles.map(({ offset }) => this.offsets.map((kept, place) => (place === chosen ? offset : kept)));
    const { images } = await ask("rebuild", this.question(rows));
    find("h4", this.stripBox).textContent = `Number ${chosen} from ${signed(-this.about.reach)} to ${signed(this.about.reach)}`;
    this.tiles.forEach(({ canvas }, step) => paint(canvas, images[step], this.about.image));
    this.stripBox.hidden = false;
  }

  // The strongest numbers first, once the drawing has come to rest and no slider is being moved.
  async sort() {
    if (!this.answer) return;
    this.markUsual();
    const { pixels, class: of } = this.answer;
    const { effects } = await ask("effects", { run: this.number, pixels, class: of });
    const largest = Math.max(...effects, 1e-9);
    this.sliders.forEach(({ effect }, place) => {
      effect.style.transform = `scaleX(${effects[place] / largest})`;
      effect.title = `changes a pixel by ${effects[place].toFixed(3)} from end to end, on average`;
    });
    if (this.isMoved || this.box.contains(document.activeElement)) return;
    this.order.sort((a, b) => effects[b] - effects[a] || a - b);
    this.arrange();
  }

  arrange() {
    const shown = this.isAll ? this.order : this.order.slice(0, FEW);
    this.box.replaceChildren(...shown.map((place) => this.sliders[place].element));
  }

  showAll() {
    this.isAll = true;
    this.more.hidden = true;
    this.arrange();
  }
}
