// A bar for each class, or for those with the largest scores where there are many.

const MANY = 24;
const LARGEST = 12;
const MEANING = {
  length: (about) =>
    `Each class has a capsule: ${about.dim} numbers. How long it is, from 0 to 1, says how surely the class is there; ` +
    "lengths need not add up to 1, and two classes can be there at once. Choose a class to look into its capsule.",
  activation: () => "How active the capsule of each class is, from 0 to 1. Choose a class to look into its capsule.",
  score: () => "The scores of this network are no lengths: any number may come out, and the largest wins.",
};
const NOUN = { length: "length", activation: "activation", score: "score" };

class Bars {
  constructor(root, about, number, chosen) {
    Object.assign(this, { root, about, chosen });
    this.isMany = about.classes.length > MANY;
    const shown = this.isMany ? LARGEST : about.classes.length;
    this.rows = Array.from({ length: shown }, (_, row) => this.row(`class-${number}`, row));
    const group = find(".bars", root);
    group.setAttribute("aria-label", `${NOUN[about.kind]} of each class`);
    group.append(...this.rows.map((row) => row.element));
    const longest = Math.max(...about.classes.map((name) => name.length));
    group.style.setProperty("--names", `${Math.min(longest, 14) * 0.56 + 0.6}rem`);
    find(".meaning", root).textContent = MEANING[about.kind](about);
    find(".any", root).hidden = !this.isMany;
    this.select = find(".any select", root);
    if (this.isMany) {
      this.select.append(make("option", { value: "", textContent: "the winner" }));
      this.select.append(...about.classes.map((name, label) => make("option", { value: label, textContent: name })));
      this.select.onchange = () => chosen(this.select.value === "" ? null : Number(this.select.value));
    }
  }

  row(group, label) {
    const input = make("input", { type: "radio", name: group });
    const name = make("span", { className: "label" });
    const fill = make("span", { className: "fill" });
    const track = make("span", { className: this.about.kind === "score" ? "track" : "track halved" }, fill);
    const value = make("span", { className: "value" });
    const row = { element: make("label", { className: "bar" }, input, name, track, value), input, name, fill, value };
    input.onchange = () => this.chosen(row.label);
    this.name(row, label);
    return row;
  }

  name(row, label) {
    row.label = label;
    row.name.textContent = row.element.title = this.about.classes[label];
  }

  show({ scores, winners, class: of }, isFollowing) {
    const order = ranked(scores);
    const isScore = this.about.kind === "score";
    const low = isScore ? Math.min(0, ...scores) : 0;
    const high = isScore ? Math.max(0, ...scores) : 1;
    this.rows.forEach((row, place) => {
      if (this.isMany) this.name(row, order[place]);
      const score = scores[row.label];
      row.fill.style.transform = `scaleX(${within((score - low) / (high - low || 1), 0, 1)})`;
      row.value.textContent = decimals(score, 2);
      row.element.classList.toggle("won", winners.includes(row.label));
      row.input.checked = row.label === of;
      row.input.setAttribute("aria-label", `${this.about.classes[row.label]}, ${NOUN[this.about.kind]} ${score.toFixed(2)}`);
    });
    if (this.isMany) this.select.value = isFollowing ? "" : String(of);
    this.conclude(scores, winners, order[0]);
  }

  conclude(scores, winners, largest) {
    const names = winners.map((label) => this.about.classes[label]);
    const verdict = find(".verdict", this.root);
    const parts = names.flatMap((name, place) => [...(place ? [" and "] : []), make("b", { textContent: name })]);
    const noun = NOUN[this.about.kind];
    if (names.length === 2) verdict.replaceChildren("Two are there: ", ...parts);
    else if (names.length) verdict.replaceChildren(...parts, `, ${noun} ${decimals(scores[winners[0]], 2)}`);
    else verdict.replaceChildren(`No capsule is long: none of these for sure. Longest: ${this.about.classes[largest]}`);
    announce(this.root, `${this.about.name}: ${verdict.textContent}.`);
  }

  clear() {
    find(".verdict", this.root).textContent = "–";
    for (const row of this.rows) {
      row.fill.style.transform = "scaleX(0)";
      row.value.textContent = "";
      row.element.classList.remove("won");
      row.input.checked = false;
    }
  }
}
