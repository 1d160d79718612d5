"""`capsnet-dist train`: a recipe by its name, or any network on any data by flags alone."""

from collections.abc import Sequence

from capsnet_dist.reproduction.recipes import described, file_of
from capsnet_dist.run import Run
from capsnet_dist.screen.console import any_text
from capsnet_dist.screen.ending import user_errors
from capsnet_dist.train import main

FLAGS_ALONE = "train"  # the recipe whose defaults suit pictures of one's own


def train(recipe: str = FLAGS_ALONE, /, *, imports: tuple[str, ...] = ()) -> None:
    """Train a network, by one process or, started by a launcher, by many: `train RECIPE --help` lists every option.

    Args:
        recipe: Name of a recipe, or its file; without one, flags alone say what is trained: --data folder --data.root
            DIR.
    """
    start([recipe])


def start(words: Sequence[str]) -> None:
    """Train as the words after `train` say: a recipe, if the first is no flag, and flags.

    Raises:
        SystemExit: with code 2, after one line, where the user made a mistake.
    """
    with any_text(), user_errors():
        is_named = bool(words) and not words[0].startswith("-")
        run = read_recipe(words[0] if is_named else FLAGS_ALONE)
    main(run, words[1:] if is_named else words, "capsnet-dist train")


def read_recipe(word: str) -> Run:
    """The run that a recipe describes, by its name or its file.

    Raises:
        UserError: there is no such recipe, or it describes no run.
    """
    run, _ = described(file_of(word))
    return run
