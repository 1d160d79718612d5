// Where an image comes from, besides drawing: a file that is chosen, dropped or pasted, or the test images.

class Sources {
  constructor(pad, about, look) {
    this.pad = pad;
    this.about = about;
    this.look = look;
    this.next = Math.floor(Math.random() * about.tests);
    find("#undo").onclick = () => pad.undo();
    find("#clear").onclick = () => pad.clear();
    find("#test").onclick = () => this.test();
    find("#choose").onclick = () => find("#file").click();
    find("#file").onchange = (event) => this.picture(event.target.files[0]);
    find("#test").disabled = !about.tests;
    find("#test").title = about.missing;
    find("#choose").disabled = !about.drawable;
    document.addEventListener("paste", (event) => this.given(event, event.clipboardData));
    for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => this.drag(event));
  }

  drag(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    find("#paper").classList.toggle("over", event.type === "dragover");
    if (event.type === "drop") this.given(event, event.dataTransfer);
  }

  given(event, data) {
    const file = data?.files[0];
    if (!file) return;
    event.preventDefault();
    this.picture(file);
  }

  test() {
    this.pad.show(null);
    this.look({ test: this.next });
    this.next = (this.next + 1) % this.about.tests;
  }

  async picture(file) {
    find("#file").value = "";
    if (!file) return;
    if (file.size > 24e6) return say("The picture has more than 24 MB: make it smaller first.", true);
    if (!this.about.drawable) return say("This network takes no pictures.", true);
    const shown = await createImageBitmap(file).catch(() => null); // of a kind that only the program can read
    this.pad.show(shown);
    this.look({ picture: textOf(new Uint8Array(await file.arrayBuffer())), name: file.name });
  }

  // What was said about the image, and what the pad shows where nothing else could.
  answered(source, answer) {
    if (source.test !== undefined) {
      const names = answer.truth?.map((label) => this.about.classes[label]).join(" and ");
      const place = `Test image ${(source.test + 1).toLocaleString("en")} of ${this.about.tests.toLocaleString("en")}`;
      say(`${place}${names ? `: ${names}` : ""}. Drawing replaces it.`);
    } else if (source.name) {
      say(`${source.name}. Drawing replaces it.`);
    }
    if (!source.drawing && !this.pad.shown) {
      const canvas = make("canvas");
      paint(canvas, answer.pixels, this.about.image);
      this.pad.show(canvas);
    }
  }
}
