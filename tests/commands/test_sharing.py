"""What is shared of a run: as a folder, an archive, or on the Hub, whose interface a small server plays here."""

import base64
import json
import shutil
import tarfile
import threading
import zipfile
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import huggingface_hub
import pytest
from conftest import run_ranks
from huggingface_hub import ModelCard
from test_cli import refused, said
from test_plugins_travel import run_of_an_author

from capsnet_dist import load
from capsnet_dist.saved.weights import digest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a plugin, a picture and a checkpoint."""
    folder = run_of_an_author(tmp_path_factory.mktemp("author"))
    (folder / "samples" / "curves.png").write_bytes(b"picture")
    (folder / "samples" / "secret.txt").symlink_to("/etc/hostname")
    return folder


SHARED = {
    "README.md",
    "config.json",
    "environment.json",
    "model.safetensors",
    "plugins/my_routing.py",
    "plugins/strokes.py",
    "samples/curves.png",
}


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def snippet_loads(folder):
    """Whether the network loads by what its card says."""
    (line,) = (line for line in (folder / "README.md").read_text().splitlines() if line.startswith("model = "))
    assert line == f'model = capsnet_dist.load("{folder.name}", imports=True)'
    return load(folder, imports=True).classes


@pytest.mark.parametrize("out", ["parcel", "parcel.zip", "parcel.tar.gz"])
def test_what_is_packed_loads_elsewhere_and_has_no_checkpoints(run, out):
    code, told, err = said("pack", run, out, "--license", "mit")
    assert (code, err) == (0, "") and told.startswith(f"{out}: 7 files, ")
    if out.endswith(".zip"):
        zipfile.ZipFile(out).extractall()
    if out.endswith(".tar.gz"):
        with tarfile.open(out) as archive:
            archive.extractall(filter="data")
    assert files_of(Path("parcel")) == SHARED
    assert ModelCard.load("parcel/README.md").data.license == "mit"
    assert run_ranks(1, snippet_loads, Path("parcel")) == tuple("0123456789")


def test_the_card_of_several_seeds_has_mean_and_deviation(run):
    for seed, accuracy in ((1, 0.5), (2, 0.52)):
        other = Path(f"seed-{seed}")
        other.mkdir()
        config = json.loads((run / "config.json").read_text())
        config["run"]["seed"] = seed
        (other / "config.json").write_text(json.dumps(config))
        (other / "STATUS.json").write_text('{"state": "done"}')
        line = {"split": "test", "weights": "selected", "accuracy": accuracy}
        (other / "metrics.jsonl").write_text(json.dumps(line))
    assert said("pack", "seed-1", "no")[0] == 2  # it has no weights
    for name in ("README.md", "model.safetensors"):
        shutil.copy(run / name, "seed-1")
    shutil.copytree(run / "plugins", "seed-1/plugins")
    assert said("pack", "seed-1", "both", "--beside", "seed-2")[0] == 0
    expected = "Of 2 runs that differ in their seeds alone (1, 2): test accuracy 51.00 ± 1.41 % (mean and deviation)."
    assert expected in Path("both/README.md").read_text()
    shutil.copy("both/README.md", "seed-1")
    assert said("pack", "seed-1", "twice", "--beside", "seed-2")[0] == 0
    assert Path("twice/README.md").read_text().count("differ in their seeds alone") == 1
    assert "differ in their seeds alone; got seed-1, seed-1" in refused("pack", "seed-1", "no", "--beside", "seed-1")


def test_mistakes_in_packing_are_refused_in_one_line(run):
    Path("there").mkdir()
    Path("empty").mkdir()
    assert "there exists already, and is not overwritten" in refused("pack", run, "there")
    assert "empty holds no config.json and no model.safetensors" in refused("pack", "empty")
    assert "--license 'all mine': give an identifier" in refused("pack", run, "out", "--license", "all mine")
    assert "runs/x/y must be owner/name" in refused("push", run, "runs/x/y")
    shutil.copytree(run, "bare")
    Path("bare/README.md").unlink()
    assert "the card that --license writes to" in refused("pack", "bare", "out", "--license", "mit")
    assert not Path("out").exists()


def test_nothing_is_shared_that_a_link_leads_to_and_nothing_left_out_unsaid(run):
    shutil.copytree(run, "linked")
    shutil.rmtree("linked/samples")
    Path("elsewhere").mkdir()
    Path("elsewhere/secret.txt").write_text("secret")
    Path("linked/samples").symlink_to(Path("elsewhere").absolute())
    assert said("pack", "linked", "out")[0] == 0 and files_of(Path("out")) == SHARED - {"samples/curves.png"}
    shutil.move("linked/model.safetensors", "elsewhere")
    Path("linked/model.safetensors").symlink_to(Path("elsewhere/model.safetensors").absolute())
    assert "linked/model.safetensors is a link, and links are not shared" in refused("pack", "linked", "none.zip")
    assert not list(Path().glob("*none*")) and not list(Path().glob(".writing*"))


def test_a_licence_may_be_named_later_and_once_more(run):
    for before, after, name in ((run, "first", "mit"), ("first", "second", "apache-2.0")):
        assert said("pack", before, after, "--license", name)[0] == 0
        assert ModelCard.load(f"{after}/README.md").data.license == name
    card = Path("first/README.md").read_text()
    Path("first/README.md").write_text(card.partition("\n---\n")[2])  # as of earlier versions
    assert said("pack", "first", "third", "--license", "mit")[0] == 0
    assert ModelCard.load("third/README.md").data.license == "mit"


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as takes a commit and gives its files."""

    files: ClassVar = defaultdict(dict)
    private: ClassVar = {}

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, content, status=200, **headers):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def do_POST(self):
        body, path = self.body(), self.path.partition("?")[0]
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            if wanted["organization"] == "others":
                self.answer(b"{}", 403)
                return
            self.private[name] = "private" in (wanted.get("visibility"), "private" if wanted.get("private") else "")
            self.answer(json.dumps({"url": f"{self.server.url}/{name}"}).encode())
        elif path == "/api/validate-yaml":
            self.answer(json.dumps({"errors": [], "warnings": []}).encode())
        elif path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self.answer(json.dumps({"files": files}).encode())
        else:
            name = path.removeprefix("/api/models/").removesuffix("/commit/main")
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            told = {"commitUrl": f"{self.server.url}/{name}/commit/{'c' * 40}", "commitOid": "c" * 40}
            self.answer(json.dumps(told).encode())

    def do_GET(self):
        if "/resolve/" not in self.path:  # what a client would like to know besides
            self.answer(b"", 404)
            return
        owner, name, _, _, file = self.path.strip("/").split("/", 4)
        content = self.files[f"{owner}/{name}"].get(file)
        if content is None:
            self.answer(b"", 404, X_Error_Code="EntryNotFound")
        else:
            self.answer(content, X_Repo_Commit="c" * 40, ETag=f'"{file}-{len(content)}"')

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    found = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    found.url = f"http://127.0.0.1:{found.server_port}"
    thread = threading.Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", found.url)
    template = f"{found.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(Path("cache").absolute()))
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def loaded(source):
    return digest(load(source, imports=True).state_dict())


def test_what_is_pushed_loads_from_the_hub_with_its_plugins(run, server):
    code, out, err = said("push", run, "owner/name", "--private", "--license", "apache-2.0")
    assert (code, err) == (0, "") and out == f"{server.url}/owner/name\n"
    assert set(Hub.files["owner/name"]) == SHARED and Hub.private["owner/name"]
    card = Hub.files["owner/name"]["README.md"].decode()
    assert 'capsnet_dist.load("hf://owner/name", imports=True)' in card
    assert ModelCard(card).data.license == "apache-2.0"
    own, theirs = (run_ranks(1, loaded, source) for source in (run, "hf://owner/name"))
    assert own == theirs


def test_a_dry_run_lists_what_would_go_and_sends_nothing(run):
    code, out, err = said("push", run, "owner/other", "--dry-run")
    assert code == 0 and "names no licence" in err and "other" not in Hub.files
    assert {line.split()[0] for line in out.splitlines()[1:8]} == SHARED
    size = (run / "model.safetensors").stat().st_size
    assert f"{size:,}" in out and "Would go to owner/other on the Hugging Face Hub: 7 files, " in out
    assert said("pack", run, "licensed", "--license", "mit")[0] == 0
    assert said("push", "licensed", "owner/other", "--dry-run")[2] == ""  # the card has one already


def test_a_hub_that_does_not_take_it_is_one_line(run, server, monkeypatch):
    assert "others/name may not be written by you: log in with `hf auth login`" in refused(
        "push", run, "others/name", "--license", "mit"
    )
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "owner/name could not be uploaded (" in refused("push", run, "owner/name", "--license", "mit")
