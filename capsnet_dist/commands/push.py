"""`capsnet-dist push`: a run to the Hugging Face Hub."""

from pathlib import Path

from capsnet_dist.errors import UserError
from capsnet_dist.hub import reaching
from capsnet_dist.record.card_edits import license_of
from capsnet_dist.record.parcel import CARD, Parcel, parcel, size
from capsnet_dist.saved import hub
from capsnet_dist.screen.console import print_table, say


def push(
    run: Path,
    repository: str,
    /,
    *,
    private: bool = False,
    license: str = "",
    beside: tuple[Path, ...] = (),
    message: str = "",
    dry_run: bool = False,
    imports: tuple[str, ...] = (),
) -> None:
    """Upload what others need of a run: weights, configuration, model card, samples and plugins, but no checkpoints.

    It is one commit of a repository, which is made if there is none; `hf auth login` is what you log in with.

    Args:
        run: Run folder.
        repository: owner/name on the Hugging Face Hub.
        private: Make a new repository one that only its owner sees.
        license: Licence of the weights, such as apache-2.0, for the model card.
        beside: Runs that differ in their seeds alone: the model card gets mean and deviation of all.
        message: Of the commit.
        dry_run: List what would be uploaded, and upload nothing.

    Raises:
        UserError: it is not the folder of a finished run, the name is none, or the Hub does not take it.
    """
    place = hub.address(repository)
    if place is None or place.revision is not None:
        raise UserError(f"{repository} must be owner/name, where the Hub is to have the network.")
    found = parcel(run, f"hf://{place.repository}", license, beside)
    card = found.get(CARD)
    if not isinstance(card, bytes) or not license_of(card.decode()):
        say("the model card names no licence: others may not use the weights unless --license names one.")
    if dry_run:
        print_table(["file", "bytes"], [[name, f"{size(content):,}"] for name, content in found.items()])
        total = f"{len(found)} files, {sum(map(size, found.values())):,} bytes"
        print(f"\nWould go to {place.repository} on the Hugging Face Hub: {total}")  # noqa: T201
        return
    print(_upload(found, place.repository, private, message or f"{run.resolve().name} of capsnet_dist"))  # noqa: T201


def _upload(found: Parcel, repository: str, private: bool, message: str) -> str:
    """The address of the repository, once all files are in it.

    Raises:
        UserError: the Hub cannot be reached, or does not take it.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    denied = "may not be written by you: log in with `hf auth login`, with a token that may write"
    reasons: dict[str | int, str] = {401: denied, 403: denied, "HFValidationError": "is no name that the Hub allows"}
    with reaching(repository, reasons, verb="uploaded"):
        api = HfApi()
        url = api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(repository, [CommitOperationAdd(*pair) for pair in found.items()], commit_message=message)
        return str(url)
