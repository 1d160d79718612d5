// What happens first, and what follows a stroke.

const begin = async () => {
  const about = await ask("about");
  const [first] = about.runs;
  find("#runs").classList.toggle("two", about.runs.length === 2);
  find("#intro").textContent = about.runs.length === 2 ? "Two networks look at the same image." : `${first.name}: ${facts(first)}`;
  document.title = `${about.runs.map((run) => run.name).join(" and ")} · Inside a capsule network`;
  const runs = about.runs.map((run, number) => new Run(run, number));

  let source = null;
  let stroke = null; // when the first of the strokes was drawn that have not been sent yet
  const latest = new Latest(async (what, drawnAt) => {
    if (!what) return runs.forEach((run) => run.clear());
    const answers = await Promise.all(runs.map((run) => run.look(what, find("#polarity").value)));
    sources.answered(what, answers[0]);
    if (drawnAt !== null) requestAnimationFrame(() => performance.measure("stroke to bars", { start: drawnAt }));
  });
  const look = (what, drawnAt = null) => {
    source = what;
    find("#invitation").hidden = Boolean(what);
    latest.ask(what, drawnAt);
  };
  const drawn = { drawing: (about) => pad.file(about) };
  const send = () => {
    if (stroke === null) return;
    const drawnAt = stroke;
    stroke = null;
    say("");
    look(pad.isEmpty ? null : drawn, drawnAt);
  };
  const pad = new Pad(find("#pad"), first, () => {
    if (stroke === null) requestAnimationFrame(send);
    stroke ??= performance.now();
    find("#undo").disabled = pad.isEmpty;
  });
  const sources = new Sources(pad, first, look);
  settings(pad, first, () => source && look(source));
  if (first.tests) sources.test();
};

const settings = (pad, about, again) => {
  find("#draw-hint").textContent = about.drawable
    ? `Draw one of ${listed(about.classes)}, with the mouse, a finger or a pen. Or drop a picture here, or paste one.`
    : `This network takes images of ${about.image[0]} channels, which nobody can draw: take a test image.`;
  find("#centring").hidden = !about.frame;
  find("#colours").hidden = !pad.isColoured;
  find("#pen").value = 100 * pad.pen;
  find("#pen").oninput = (event) => {
    pad.pen = event.target.value / 100;
    pad.isEmpty || pad.drawn();
  };
  find("#centre").onchange = (event) => {
    pad.centred = event.target.checked;
    pad.isEmpty || pad.drawn();
  };
  find("#colour").value = pad.colour;
  find("#colour").oninput = (event) => (pad.colour = event.target.value);
  find("#fill").onclick = () => pad.fill(pad.colour);
  find("#polarity").onchange = again;
  if (!about.drawable) pad.canvas.inert = true;
};

const listed = (names) => (names.length <= 12 ? names : [...names.slice(0, 8), `${names.length - 8} more classes`]).join(", ");

begin().catch(complain);
