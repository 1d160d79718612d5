"""What of a run folder is shared: all that loads, evaluates and shows its network, and no checkpoints."""

import io
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from capsnet_dist.config.kept import copies
from capsnet_dist.errors import UserError
from capsnet_dist.files import replacing
from capsnet_dist.record.card_edits import licensed, readdressed, summed_up
from capsnet_dist.saved.config_file import read_config
from capsnet_dist.saved.weights import CONFIG, WEIGHTS
from capsnet_dist.text import reason

CARD = "README.md"
ARCHIVES = (".zip", ".tar.gz")
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")

Parcel = Mapping[str, Path | bytes]
"""What travels: files, or their contents where they change, by their paths at the destination."""


def parcel(run: Path, source: str, license: str, beside: Sequence[Path] = ()) -> Parcel:
    """What is shared of a run: configuration, weights, card, environment, samples and the source of plugins.

    Args:
        run: The folder of a run, or of any saved network.
        source: What its new owners will give to `load`.
        license: Identifier of the licence of the weights, as the Hub has them; empty to leave what the card says.
        beside: Runs that differ in their seeds alone, whose results the card is to sum up with that of this one.

    Raises:
        UserError: it is no such folder, the licence is no identifier, or the runs differ in more.
    """
    if license and not LICENSE.fullmatch(license):
        raise UserError(f"--license {license!r}: give an identifier of the Hub, such as apache-2.0, mit or cc-by-4.0.")
    if missing := [name for name in (CONFIG, WEIGHTS) if not (run / name).is_file()]:
        raise UserError(f"{run} holds no {' and no '.join(missing)}: give the folder of a finished run.")
    if (flags := "--beside" * bool(beside) or "--license" * bool(license)) and not (run / CARD).is_file():
        raise UserError(f"{run} holds no {CARD}, the card that {flags} writes to: give the folder of a finished run.")
    kept = [path for copy in copies(read_config(run / CONFIG), run / CONFIG) for path in copy.paths]
    samples = sorted(file.relative_to(run).as_posix() for file in (run / "samples").rglob("*"))
    wanted = [CARD, CONFIG, WEIGHTS, "environment.json", *kept, *samples]
    found: dict[str, Path | bytes] = {name: run / name for name in wanted if _is_ordinary(run, name)}
    if linked := [name for name in (CONFIG, WEIGHTS) if name not in found]:
        raise UserError(f"{run / linked[0]} is a link, and links are not shared: copy the folder, files and all.")
    if lost := [path for path in kept if path not in found]:
        raise UserError(f"{run} has lost {lost[0]}, which its {CONFIG} lists: copy the folder again.")
    if CARD in found:
        text = (run / CARD).read_text(encoding="utf-8", errors="backslashreplace")
        text = summed_up(text, [run, *beside]) if beside else text
        text = licensed(text, license) if license else text
        found[CARD] = readdressed(text, source).encode()
    return found


def size(content: Path | bytes) -> int:
    """Bytes of a file, or of contents."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def pack(found: Parcel, out: Path) -> None:
    """Write a folder, or an archive that holds one of its name.

    Raises:
        UserError: it exists, or cannot be written.
    """
    if out.exists():
        raise UserError(f"{out} exists already, and is not overwritten: name another.")
    name, kind = split_name(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not kind:
            for path, content in found.items():
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                (out / path).write_bytes(_bytes(content))
            return
        with replacing(out) as new:
            _write_archive(found, new, name, kind)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {reason(error)}.") from error


def split_name(out: Path) -> tuple[str, str]:
    """The name of what is packed, and the kind of archive that its ending names; of a folder nothing."""
    kind = next((ending for ending in ARCHIVES if out.name.endswith(ending) and out.name != ending), "")
    return out.name.removesuffix(kind), kind


def _write_archive(found: Parcel, out: Path, name: str, kind: str) -> None:
    if kind == ".zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in found.items():
                archive.writestr(f"{name}/{path}", _bytes(content))
        return
    with tarfile.open(out, "w:gz") as archive:
        for path, content in found.items():
            entry = tarfile.TarInfo(f"{name}/{path}")  # without the name of whoever packs it
            entry.size = size(content)
            archive.addfile(entry, io.BytesIO(_bytes(content)))


def _bytes(content: Path | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _is_ordinary(run: Path, name: str) -> bool:
    """Whether it is a file that no link leads to, so that nothing from elsewhere is shared."""
    return (run / name).is_file() and (run / name).resolve() == run.resolve() / name
