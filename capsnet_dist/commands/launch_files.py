"""`capsnet-dist launch-files`: recipes and the files for launchers and clusters, to be changed."""

from pathlib import Path

from capsnet_dist.errors import UserError
from capsnet_dist.files import shipped
from capsnet_dist.text import printable, reason

FOLDERS = ("launch", "recipes")


def launch_files(folder: Path, /, *, imports: tuple[str, ...] = ()) -> None:
    """Copy what comes with the package into DIR/launch and DIR/recipes: files for accelerate, Slurm and Kubernetes.

    Args:
        folder: Where they go; files that are there are left as they are.

    Raises:
        UserError: the folder cannot be written.
    """
    for source in (file for name in FOLDERS for file in sorted(shipped(name).iterdir()) if file.is_file()):
        target = folder / source.parent.name / source.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as new:
                new.write(source.read_bytes())
        except FileExistsError:
            print(printable(f"{target} is there already"))  # noqa: T201
            continue
        except OSError as error:
            raise UserError(f"{target} cannot be written: {reason(error)}.") from error
        print(printable(str(target)))  # noqa: T201
