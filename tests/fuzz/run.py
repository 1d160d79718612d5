"""Fuzz one target with atheris (libFuzzer): `python tests/fuzz/run.py header -max_total_time=300`.

`pip install atheris` first. Good files are the first inputs; what libFuzzer finds worth keeping goes to the folder
corpus/TARGET, and an input that breaks a law to crash-…, which `python tests/fuzz/run.py header crash-…` repeats. The
last line says how many inputs were tried. Any exception but a UserError of one printable line breaks the law, and so
does taking more than 2 GiB or 20 seconds.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["capsnet_dist", "json"]):
    import targets

target, *options = sys.argv[1:]
if target not in targets.TARGETS:
    sys.exit(f"Unknown target {target!r}: one of {', '.join(targets.TARGETS)}.")
here = Path.cwd()
corpus = here / "corpus" / target
corpus.mkdir(parents=True, exist_ok=True)
warnings.simplefilter("ignore")
with tempfile.TemporaryDirectory() as folder:
    targets.begin(Path(folder))
    for number, seed in enumerate(targets.seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
        answered = targets.answer(target, seed)
        assert target == "state" or not answered, f"a good file is refused: {answered}"
    files = [word for word in options if not word.startswith("-")]
    flags = [word for word in options if word.startswith("-")]
    paths = [str(here / file) for file in files] or [str(corpus)]
    words = Path("words.dict")
    words.write_text("".join(json.dumps(word) + "\n" for word in targets.WORDS))
    limits = [f"-dict={words}", "-rss_limit_mb=2048", "-timeout=20", "-max_len=20000", f"-artifact_prefix={here}/"]
    atheris.Setup([sys.argv[0], *limits, *flags, *paths], lambda data: targets.answer(target, data) and None)
    atheris.Fuzz()
