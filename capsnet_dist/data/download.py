"""Files of published data sets: fetched where they are missing, and checked where a checksum is known."""

import hashlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary
from capsnet_dist.text import reason


def download(folder: Path, name: str, urls: Sequence[str], md5: str | None, mend: str) -> Path:
    """Fetch a file from the first address that has it.

    Args:
        folder: Where it is put.
        name: What it is called there.
        urls: Where it may be found.
        md5: Its checksum, if one is known.
        mend: What the user can do where there is no network.

    Raises:
        UserError: none has it, or what came is damaged.
    """
    from torchvision.datasets.utils import download_url

    why = "no address is known"
    for url in urls:
        try:
            download_url(url, str(folder), filename=name, md5=md5)
            return folder / name
        except (RuntimeError, OSError, HTTPException) as error:
            why = reason(error)
    raise UserError(f"{name} is not in {folder.resolve()} and could not be downloaded ({why}). {mend}")


def unpack(archive: Path) -> None:
    """Unpack an archive beside itself.

    Raises:
        UserError: it cannot be read.
    """
    from torchvision.datasets.utils import extract_archive

    try:
        extract_archive(str(archive), str(archive.parent))
    except Exception as error:  # gzip, zlib, zipfile and tarfile each have kinds of their own
        raise UserError(
            f"{archive} cannot be unpacked ({reason(error)}). Delete it, and it is downloaded again."
        ) from error


def check_md5(file: Path, md5: str) -> None:
    """Refuse a file that is not the published one.

    Raises:
        UserError: it cannot be read, or is damaged or another one.
    """
    with ordinary(file) as data:
        digest = hashlib.file_digest(data, lambda: hashlib.md5(usedforsecurity=False))
    require_md5(file, digest.hexdigest(), md5)


def require_md5(file: Path, found: str, expected: str) -> None:
    """Refuse a file with another checksum than the published one.

    Raises:
        UserError: with both.
    """
    if found != expected:
        raise UserError(
            f"{file} is damaged or another file: md5 {expected} expected, {found} found. "
            "Delete it and it is downloaded again, or copy it again."
        )


def published(folder: Path, name: str, url: str, md5: str) -> Path:
    """A published file in a folder, fetched if it is missing, and checked.

    Args:
        folder: Holds it.
        name: Its name.
        url: Where it may be found.
        md5: Its checksum.

    Raises:
        UserError: it is neither there nor to be had, damaged or another file.
    """
    if not (folder / name).exists():
        mend = f"Put {name} there, or name the folder that holds {folder.name}: --data.root FOLDER."
        download(folder, name, [url], md5, mend)
    check_md5(folder / name, md5)
    return folder / name
