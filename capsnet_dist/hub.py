"""Downloads from and uploads to the Hugging Face Hub whose failures are messages."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from capsnet_dist.errors import UserError

LOG_IN = "a private one needs `hf auth login`"
"""What to try where the Hub does not say whether a repository is missing or hidden."""

_REASONS: dict[str | int, str] = {
    "GatedRepoError": "is gated: accept its conditions on its page, then log in with `hf auth login`",
    "RevisionNotFoundError": "names a revision that the repository does not have",
}


@contextmanager
def reaching(
    source: str, reasons: Mapping[str | int, str], what: str = "", verb: str = "downloaded"
) -> Generator[None]:
    """Turn what `huggingface_hub` raises into one message, and keep its log quiet.

    Args:
        source: What is asked for, as the user wrote it.
        reasons: What is wrong with it, by class of `huggingface_hub.errors`, or by the number of the Hub's answer: the
            special ones first, since some are kinds of others.
        what: Which part of it, for failures of no known kind.
        verb: What was to be done with it.

    Raises:
        UserError: it failed.
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it tells of each of its tries to reach the Hub
    try:
        yield
    except Exception as error:  # of a kind that depends on the version and its HTTP library
        number = getattr(getattr(error, "response", None), "status_code", None)
        for name, reason in (_REASONS | dict(reasons)).items():
            if number == name if isinstance(name, int) else isinstance(error, getattr(errors, name)):
                raise UserError(f"{source} {reason}.") from error
        first_line = str(error).partition("\n")[0]
        part = f"{source}: {what}" if what else source
        raise UserError(f"{part} could not be {verb} ({type(error).__name__}: {first_line}).") from error
    finally:
        logging.set_verbosity(verbosity)
