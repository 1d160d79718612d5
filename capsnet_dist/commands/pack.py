"""`capsnet-dist pack`: what others need of a run, as a folder or an archive."""

from pathlib import Path

from capsnet_dist.record.parcel import pack as write
from capsnet_dist.record.parcel import parcel, size, split_name


def pack(
    run: Path,
    out: Path | None = None,
    /,
    *,
    license: str = "",
    beside: tuple[Path, ...] = (),
    imports: tuple[str, ...] = (),
) -> None:
    """Write what others need of a run: weights, configuration, model card, samples and plugins, but no checkpoints.

    Args:
        run: Run folder.
        out: A folder, or an archive that ends with .zip or .tar.gz; the name of the run folder with .zip if not given.
        license: Licence of the weights, such as apache-2.0, for the model card.
        beside: Runs that differ in their seeds alone: the model card gets mean and deviation of all.

    Raises:
        UserError: it is not the folder of a finished run, or what is to be written exists.
    """
    place = Path(f"{run.resolve().name}.zip") if out is None else out
    found = parcel(run, split_name(place)[0], license, beside)
    write(found, place)
    print(f"{place}: {len(found)} files, {sum(map(size, found.values())):,} bytes")  # noqa: T201
