"""`capsnet-dist demo`: a page where one draws, and sees what the capsules make of it."""

import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from torch import Tensor

from capsnet_dist.commands.export import example_images
from capsnet_dist.demo.page import assemble
from capsnet_dist.demo.server import ADDRESS, Server
from capsnet_dist.demo.stage import Stage
from capsnet_dist.demo.static import runtime_files, write_static
from capsnet_dist.errors import UserError
from capsnet_dist.exporting.onnx_file import require_packages
from capsnet_dist.files import expanded
from capsnet_dist.kernels import fast_paths
from capsnet_dist.plugins import Model, Split, datasets
from capsnet_dist.ranges import Range
from capsnet_dist.record.summary import final_accuracy
from capsnet_dist.registry import Choice
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.saved.weights import load
from capsnet_dist.screen.console import say
from capsnet_dist.text import printable

PORT = 8000
Port = Annotated[int, Range("from 0 to 65535", lambda number: 0 <= number <= 65535)]


def demo(
    runs: tuple[str, ...],
    /,
    *,
    data: Choice[Any],
    port: Port = PORT,
    open: bool = False,
    static: Path | None = None,
    onnxruntime_web: Path = Path("package"),
    imports: tuple[str, ...] = (),
) -> None:
    """Open a page on this machine: draw, see which capsules are long, turn their poses, watch the routing.

    Nothing is fetched from elsewhere, and only programs on this machine reach the page. Ctrl-C ends it.

    Args:
        runs: Run folder, or owner/name on the Hugging Face Hub; a second one is shown beside the first.
        data: Data set of the test images; the default is that of the training.
        port: Where the page is; another port is taken, and named, where this one is in use.
        open: Open the page in a browser.
        static: Write the page of one run into this folder instead, for any web server: the network is computed in the
            browser, by ONNX Runtime.
        onnxruntime_web: Where its files are: what `npm pack onnxruntime-web` fetches, unpacked.

    Raises:
        UserError: a network cannot be loaded, or does not take the images of the data set that is named.
    """
    if not 1 <= len(runs) <= 2:
        raise UserError(f"demo takes one run, or two to compare; got {len(runs)}: capsnet-dist demo RUN [RUN].")
    if static is not None:
        _write_static(runs, data, static, onnxruntime_web)
        return
    with fast_paths(allowed=True):
        stages = [stage_of(run, data, needs_images=number == 0) for number, run in enumerate(runs)]
        with Server(stages, assemble(), port) as server:
            _serve(server, port, open)


def _write_static(runs: Sequence[str], data: Choice[Any], folder: Path, runtime: Path) -> None:
    """The page of one run, without a server of ours."""
    if len(runs) > 1:
        raise UserError("--static takes one run.")
    files = runtime_files(runtime)
    require_packages()  # before a minute of work
    with fast_paths(allowed=True):
        stage = stage_of(runs[0], data, needs_images=True)
        while stage.look_further():  # more test images: what usual poses are
            pass
        images, kind = example_images(stage.model, runs[0])
        say(f"the network is exported, and compared on {kind}: this takes a minute.")
        write_static(stage, images, files, folder)
    print(printable(f"{folder}: try it by python -m http.server --directory {folder}"))  # noqa: T201


def data_of(run: str) -> Choice[Any]:
    """The data set of a run; of a network that does not say what it was trained on, any one."""
    return _own_data(_trained(run)) or datasets("digits")


def _trained(run: str) -> TrainedRun | None:
    try:
        return TrainedRun(run)
    except UserError:  # where there is no such run, loading it says so
        return None


def _own_data(trained: TrainedRun | None) -> Choice[Any] | None:
    """The data set of a training; None of a network that does not say what it was trained on."""
    try:
        return None if trained is None else trained.data()
    except UserError:
        return None


def stage_of(run: str, data: Choice[Any], *, needs_images: bool) -> Stage:
    """A network, and test images for it, without which the page can do."""
    model, trained, folder = load(run), _trained(run), expanded(run)
    known = _own_data(trained)
    own = known or datasets("digits")
    chosen = data if needs_images or data.name == own.name else own
    split, missing = _images(trained, model, chosen, is_own=not needs_images or data == own)
    return Stage(
        folder.resolve().name if folder.is_dir() else run,
        model,
        split,
        missing,
        _unchanged if trained is None else trained.still,
        is_light_on_dark=trained is not None and trained.is_light_on_dark,
        data=None if known is None else known.name,
        accuracy=final_accuracy(folder),
    )


def _images(trained: TrainedRun | None, model: Model, data: Choice[Any], *, is_own: bool) -> tuple[Split | None, str]:
    """The test images, or why there are none; an error where the user asked for them."""
    if trained is None:
        return None, "the network does not say what it was trained on"
    try:
        return trained.part(model, data, "test"), ""
    except UserError as error:
        if not is_own:
            raise
        say(f"{trained.source}: no test images: {error}")
        return None, str(error)


def _unchanged(images: Tensor) -> Tensor:
    return images


def _serve(server: Server, wanted: int, open: bool) -> None:
    """Until Ctrl-C."""
    if wanted not in (0, server.port):
        say(f"port {wanted} is in use: {server.port} was taken.")
    address = f"http://{ADDRESS}:{server.port}"
    print(f"Draw at {address} (Ctrl-C ends it)", flush=True)  # noqa: T201
    if open and not webbrowser.open(address):
        say(f"no browser could be opened: open {address} yourself.")
    with suppress(KeyboardInterrupt):  # it is how this ends
        server.serve_forever()
