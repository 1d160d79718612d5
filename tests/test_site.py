"""The site is built without a warning, the same each time, and reads well; what builds it is an optional package."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
ROOT = Path(__file__).parents[1]


def _build(folder, seed):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", folder]
    environment = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return {page.relative_to(folder): page.read_text(encoding="utf-8") for page in folder.rglob("*.html")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Every page, by its path."""
    return _build(tmp_path_factory.mktemp("site"), "1")


def _text(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


def test_two_builds_give_the_same_pages(site, tmp_path):
    assert len(site) > 50
    assert _build(tmp_path, "2") == site


def test_types_read_as_words(site):
    texts = {path: _text(page) for path, page in site.items() if path.parts[0] != "_modules"}
    unreadable = r"Annotated\[|Range\(|<lambda>|<class '|<function|\bat 0x|jaxtyping\.|Alias for field number"
    strange = re.compile(unreadable + r"|[–—]\w")  # a flag that has lost a dash
    assert not [(path, found[0]) for path, text in texts.items() if (found := strange.search(text))]
    assert "int, at least 1" in texts[Path("builtin.html")]
    assert "each at least 1" in texts[Path("builtin.html")]
    assert "CapsNet( image: tuple[int, int, int], classes: int, *, channels: Count = 256" in texts[Path("builtin.html")]
    assert "vectors: Float[Tensor, '*n d'], epsilon: float = 1e-8" in texts[Path("api.html")]


def test_what_is_documented_links_to_its_source(site):
    for name in ("api", "builtin", "routings/em"):
        heads = re.findall(
            r'<dl class="py (?:class|function|exception)">\s*(<dt.*?</dt>)', site[Path(f"{name}.html")], re.S
        )
        assert heads and all("viewcode-link" in head for head in heads), name


def test_every_field_of_a_run_is_described(site):
    from dataclasses import fields

    from capsnet_dist.run import Checkpoints, Run

    text = _text(site[Path("configuration.html")])
    names = [field.name for field in fields(Run) if field.name != "checkpoint"]
    for name in [*names, *(f"checkpoint.{field.name}" for field in fields(Checkpoints))]:
        assert f"{name} " in text, name
