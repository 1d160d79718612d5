"""Networks on the Hugging Face Hub: `owner/name`, `owner/name@revision`, `hf://owner/name@revision`."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from capsnet_dist.errors import UserError
from capsnet_dist.files import expanded
from capsnet_dist.hub import LOG_IN, reaching

_ADDRESS = re.compile(r"(?P<scheme>hf://)?(?P<repository>[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)(?:@(?P<revision>.+))?")


class Address(NamedTuple):
    """A repository on the Hub."""

    repository: str
    """`owner/name`."""
    revision: str | None
    """Branch, tag or commit; None is the Hub's own default."""


def address(source: str, revision: str | None = None) -> Address | None:
    """What a word names on the Hub; None where it is a path: it begins with `/`, `.` or `~`, or has two slashes.

    Raises:
        UserError: `hf://` is followed by something else, or two revisions are given.
    """
    scheme = source.startswith("hf://")
    if not scheme and (source.startswith(("/", ".", "~")) or source.count("/") != 1):
        return None
    found = _ADDRESS.fullmatch(source)
    if found is None:
        if scheme:
            raise UserError(f"{source} must be hf://owner/name or hf://owner/name@revision.")
        return None
    if revision and found["revision"] and revision != found["revision"]:
        raise UserError(f"{source} names its revision, and revision={revision!r} another. Give one.")
    return Address(found["repository"], found["revision"] or revision)


def place(source: str) -> Address | None:
    """What a word names on the Hub, where no folder here has that name.

    Raises:
        UserError: as `address` does.
    """
    return None if os.path.isdir(os.path.expanduser(source)) else address(source)


def folder_beside(source: str, name: str) -> Path:
    """Where what is made of a network goes: into its folder; of one on the Hub into `OWNER-NAME-…` here.

    A folder `OWNER/NAME` would be taken for the network itself from then on.

    Args:
        source: A folder, or what `load` takes from the Hub.
        name: Of the new folder.

    Raises:
        UserError: as `address` does.
    """
    found = place(source)
    return expanded(source) / name if found is None else Path(f"{found.repository.replace('/', '-')}-{name}")


def download(place: Address, name: str) -> Path:
    """One file of a repository, from the cache where it is there and up to date.

    Raises:
        UserError: not there, not allowed, or not to be reached and not in the cache.
    """
    from huggingface_hub import hf_hub_download

    repository, revision = place
    reasons: dict[str | int, str] = {
        "RepositoryNotFoundError": "is neither a folder here nor a repository on the Hub that you may see. "
        f"Check the spelling; {LOG_IN}",
        "LocalEntryNotFoundError": f"is no folder here, the Hub cannot be reached, and its cache has no {name}",
        "EntryNotFoundError": f"has no {name}: it holds no network of capsnet_dist",
        "HFValidationError": "is neither a folder here nor a name the Hub allows",
    }
    with reaching(f"{repository}@{revision}" if revision else repository, reasons, name):
        return Path(hf_hub_download(repository, name, revision=revision))
