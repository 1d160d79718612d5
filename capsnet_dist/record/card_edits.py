"""What sharing changes in a model card: where the network loads from, its licence, the results of other seeds."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from capsnet_dist.errors import UserError
from capsnet_dist.record.card_metadata import UNKNOWN
from capsnet_dist.record.summary import summarize, without_seed
from capsnet_dist.text import printable

LOAD = re.compile(r'(?m)^(model = capsnet_dist\.load\()"(?:[^"\\]|\\.)*"')
SUM = re.compile(r"(?m)^Of \d+ runs that differ in their seeds alone \(.*\n\n")


def readdressed(card: str, source: str) -> str:
    """A model card that loads the network from its new place."""
    place = json.dumps(printable(source))
    return LOAD.sub(lambda found: f"{found[1]}{place}", card)


def licensed(card: str, license: str) -> str:
    """A model card whose block of YAML names a licence, whatever it named before."""
    block, rest = _divided(card)
    lines = [line for line in block.split("\n") if not line.startswith("license:")]
    return "\n".join([*lines, f"license: {license}"]) + rest


def license_of(card: str) -> str:
    """The licence that the block of YAML names; nothing where it names none, or says that it is not known."""
    named = [
        line.partition(":")[2].strip(" '\"") for line in _divided(card)[0].split("\n") if line.startswith("license:")
    ]
    return named[0] if named and named[0] != UNKNOWN else ""


def summed_up(card: str, runs: Sequence[Path]) -> str:
    """A model card with mean and standard deviation of the results of runs, in place of what it said of that before.

    Raises:
        UserError: they differ in more than their seeds, or one has no result.
    """
    return SUM.sub("", card).replace("## Data\n", f"{_spread(runs)}## Data\n", 1)


def _divided(card: str) -> tuple[str, str]:
    """The block of YAML without its last line, an empty one if there is none, and the rest."""
    block, end, rest = card.partition("\n---\n") if card.startswith("---\n") else ("---", "\n---\n", card)
    return block, end + rest


def _spread(runs: Sequence[Path]) -> str:
    """Mean and standard deviation of the results of runs, a paragraph.

    Raises:
        UserError: they differ in more than their seeds, or one has no result.
    """
    summaries = [summarize(run) for run in runs]
    accuracies = [100 * found.accuracy for found in summaries if found is not None and found.accuracy is not None]
    seeds = {found.seed for found in summaries if found is not None}
    if len(accuracies) < len(runs) or len(seeds) < len(runs) or len({*map(without_seed, runs)}) > 1:
        named = ", ".join(map(str, runs))
        raise UserError(f"--beside takes runs that are done and differ in their seeds alone; got {named}.")
    of_all = f"{mean(accuracies):.2f} ± {stdev(accuracies):.2f} %"
    numbers = ", ".join(map(str, sorted(map(str, seeds))))
    which = f"Of {len(runs)} runs that differ in their seeds alone ({numbers})"
    return f"{which}: test accuracy {of_all} (mean and deviation).\n\n"
