"""`capsnet-dist import`: weights that others trained, as a folder of ours."""

from pathlib import Path

from capsnet_dist.importing.foreign import Told
from capsnet_dist.importing.make import import_weights, save_imported
from capsnet_dist.ranges import Count, Natural
from capsnet_dist.screen.console import say


def import_(
    file: Path,
    /,
    *,
    from_: str,
    out: Path,
    classes: tuple[str, ...] = (),
    size: Natural = 0,
    iterations: Count = 3,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    imports: tuple[str, ...] = (),
) -> None:
    """Make a folder for `load`, `predict` and `evaluate` from weights that were trained elsewhere.

    Args:
        file: Weights of Keras (.h5) or of PyTorch (.pt, .pth, read as tensors only).
        from_: Layout of the file: notebook, xifeng_keras, q7, efficient_capsnet, capsulewise, sr_capsnet.
        out: The new folder.
        classes: Name of each class; without, they are numbered.
        size: Rows and columns of an image; 0 where the file tells.
        iterations: Routing iterations, where the file does not tell.
        mean: What was subtracted from the pixels in [0, 1] of each channel, before they reached the network.
        std: What they were divided by then.
    """
    model, notes = import_weights(file, from_, Told(size, iterations, mean, std), classes)
    save_imported(model, out, file, from_, notes)
    for note in notes:
        say(note)
    shape = "x".join(map(str, model.image))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert model.choice is not None
    print(f"{out}: {model.choice.name}, {count:,} parameters, images of {shape}, {len(model.classes)} classes")  # noqa: T201
