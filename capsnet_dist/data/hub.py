"""Data sets on the Hugging Face Hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath

from typing_extensions import override

from capsnet_dist.data.parquet import ParquetSet, by_split
from capsnet_dist.data.parquet_rows import arrow
from capsnet_dist.errors import UserError
from capsnet_dist.hub import LOG_IN, reaching
from capsnet_dist.plugins import datasets
from capsnet_dist.text import listed


@datasets.register("hub")
@dataclass(kw_only=True, eq=False)
class Hub(ParquetSet):
    """Images of a data set on the Hugging Face Hub, from its parquet files, which are kept in the Hub's own cache.

    Args:
        repository: owner/name, or owner/name@revision, with a branch, a tag or a commit.
        subset: Folder of the repository to take, where there are several.

    Raises:
        UserError: it is not there, may not be seen or cannot be reached, or has no such files.
    """

    repository: str = ""
    subset: str = ""

    @property
    @override
    def source(self) -> str:
        return self.repository

    @cached_property
    @override
    def files(self) -> dict[str, list[Path]]:
        arrow()  # this mistake and the next are told before gigabytes are downloaded
        if listing := _listing(self.repository):
            self._refuse_the_wrong_folder([PurePosixPath(path) for path in listing])
        folder = _downloaded(self.repository, self.subset)
        found = sorted((folder / self.subset).rglob("*.parquet"))
        self._refuse_the_wrong_folder([file.relative_to(folder) for file in found])
        return by_split(found, folder, self.repository)

    def _refuse_the_wrong_folder(self, files: Sequence[PurePath]) -> None:
        """Refuse a repository without files to take, and one with several folders of which none is named."""
        chosen = PurePosixPath(self.subset)
        found = [file for file in files if file.suffix == ".parquet" and file.is_relative_to(chosen)]
        if not found:
            part = f" in its folder {self.subset}" if self.subset else ""
            raise UserError(
                f"{self.repository} has no parquet files{part}. The Hub makes some of most data sets: try "
                f"--data.repository {self.repository.partition('@')[0]}@refs/convert/parquet."
            )
        subsets = sorted({file.parts[0] for file in found if len(file.parts) > 1} - {"data"})
        if not self.subset and len(subsets) > 1:
            raise UserError(f"{self.repository} has several folders: {listed(subsets)}. Name one: --data.subset NAME.")


def _listing(source: str) -> list[str]:
    """The files of a repository, as the Hub lists them; none where it does not, which the download then explains."""
    from huggingface_hub import list_repo_files

    repository, _, revision = source.partition("@")
    try:
        with reaching(source, {}):
            return list_repo_files(repository, repo_type="dataset", revision=revision or None)
    except UserError:
        return []


def _downloaded(source: str, subset: str) -> Path:
    """The folder of a repository's parquet files in the cache, brought up to date where the Hub can be reached.

    Raises:
        UserError: not there, not allowed, or not to be reached and not in the cache.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = source.partition("@")
    if repository.count("/") != 1:
        raise UserError(f"--data.repository {source!r}: must be owner/name, or owner/name@revision.")
    reasons: dict[str | int, str] = {
        "RepositoryNotFoundError": f"is no data set on the Hub that you may see. Check the spelling; {LOG_IN}",
        "LocalEntryNotFoundError": "is not in the Hub's cache, and the Hub cannot be reached",
        "HFValidationError": "is no name that the Hub allows",
    }
    wanted = f"{subset}/*.parquet" if subset else "*.parquet"
    with reaching(source, reasons):
        return Path(
            snapshot_download(repository, repo_type="dataset", revision=revision or None, allow_patterns=wanted)
        )
