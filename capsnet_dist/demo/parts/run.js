// One network on the page: what it sees, says and rebuilds.

class Run {
  constructor(about, number) {
    Object.assign(this, { about, number });
    this.root = find("#run").content.cloneNode(true).firstElementChild;
    this.of = null; // the class whose capsule is looked into; null: the winner
    this.source = null;
    find("#runs").append(this.root);
    find(".name", this.root).textContent = about.name;
    find(".facts", this.root).textContent = facts(about);
    const [, height, width] = about.image;
    find(".size", this.root).textContent = `${height} × ${width} pixels${about.image[0] === 3 ? " in colour" : ""}, and no more.`;
    find(".pixels", this.root).setAttribute("aria-label", "The image as the network sees it");
    this.image = find("canvas.image", this.root);
    this.bars = new Bars(this.root, about, number, (label) => this.choose(label));
    this.poses = new Poses(this.root, about, number, (image) => paint(this.image, image, about.image));
    this.routing = new Routing(this.root, about, number);
    find(".follow", this.root).onclick = () => this.choose(null);
    const none = find(".rebuilt .none", this.root);
    none.hidden = about.rebuilds;
    none.textContent = "This network has no decoder: it rebuilds no image, and its poses cannot be seen.";
    find(".pair", this.root).hidden = !about.rebuilds;
    find(".rebuilt", this.root).classList.toggle("alone", !about.rebuilds);
  }

  // The answer, and whether it is for another image than the last one, not the same drawing going on.
  async look(source, polarity) {
    const { drawing, picture, test } = source;
    const isNew = !(drawing && this.source?.drawing);
    for (const part of [this.poses.effects, this.routing.settled]) part.hold(); // what is drawn has not come to rest
    this.source = source;
    this.polarity = polarity;
    const question = { run: this.number, polarity, class: this.of, picture: drawing ? drawing(this.about) : picture, test };
    const answer = await ask("look", question);
    this.show(answer, isNew);
    return answer;
  }

  show(answer, isNew) {
    const before = this.answer;
    this.answer = answer;
    paint(find(".pixels", this.root), answer.pixels, this.about.image);
    const note = find(".turned", this.root);
    note.hidden = !answer.turned;
    note.textContent = turned(this.about.ground, this.polarity);
    this.bars.show(answer, this.of === null);
    const isOther = isNew || before?.class !== answer.class;
    this.rebuilt(answer, isOther);
    this.poses.show(answer, isOther);
    this.routing.show(answer);
  }

  rebuilt(answer, isOther) {
    const { classes } = this.about;
    find(".of", this.root).textContent = classes[answer.class];
    find(".follow", this.root).hidden = this.of === null || !this.about.rebuilds;
    if (!this.about.rebuilds) return;
    if (isOther || !this.poses.isMoved) paint(this.image, answer.rebuilt, this.about.image);
    this.image.setAttribute("aria-label", `What is rebuilt from the capsule of class ${classes[answer.class]}`);
    this.beside(answer.beside);
  }

  // Where two classes are there, what is rebuilt from the other one.
  beside(other) {
    const figure = find(".second", this.root);
    figure.hidden = !other;
    if (!other) return;
    const name = this.about.classes[other.class];
    paint(find("canvas", figure), other.rebuilt, this.about.image);
    find("figcaption", figure).textContent = `from ${name}`;
    find("button", figure).setAttribute("aria-label", `Look into the capsule of ${name}`);
    find("button", figure).onclick = () => this.choose(other.class);
  }

  choose(label) {
    this.of = label;
    if (this.source) this.look(this.source, this.polarity).catch(complain);
  }

  clear() {
    this.source = this.answer = this.poses.answer = null;
    this.of = null;
    this.bars.clear();
    this.routing.clear();
    for (const canvas of [find(".pixels", this.root), this.image]) canvas.width = canvas.width;
    find(".turned", this.root).hidden = find(".second", this.root).hidden = find(".strip", this.root).hidden = true;
    find(".of", this.root).textContent = "–";
  }
}

const facts = (about) => {
  const routing = about.routing ? ` with ${about.routing} routing` : "";
  const data = about.data ? `, trained on ${about.data}` : "";
  const right = about.accuracy === null ? "" : `, ${decimals(100 * about.accuracy, 1)} % of its test images right`;
  const [, height, width] = about.image;
  const takes = `${height} × ${width} pixels, ${count(about.classes.length, "class", "classes")}`;
  return `${about.network ?? "a network"}${routing}${data}${right} · ${takes} · ${count(about.parameters, "parameter")}`;
};

const turned = (ground, polarity) => {
  if (polarity === "turn") return "Dark and light are exchanged, as you wish.";
  return ground === "dark"
    ? "It was dark on light. The network knows light on dark, so dark and light were exchanged."
    : "It was light on dark. The network knows dark on light, so dark and light were exchanged.";
};
