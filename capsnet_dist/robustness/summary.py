"""What follows from all that was tried: rows and sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from capsnet_dist.robustness.masking import masked_gradients
from capsnet_dist.robustness.rejection import roc, threshold
from capsnet_dist.robustness.report import Report, Row, label, rows
from capsnet_dist.robustness.trial import UNCHANGED, Key, Tried


def summarized(tried: Mapping[Key, Tried], settings: Mapping[str, Any], findings: Sequence[str] = ()) -> Report:
    """The report on a network.

    Args:
        tried: What became of the images under each change.
        settings: What was tried, and on what.
        findings: Sentences that come first.
    """
    clean = tried[UNCHANGED]
    found = [*rows(tried), *_told_apart(tried), *_let_through(tried)]
    return Report(settings, len(clean.right), clean.share, found, [*findings, *masked_gradients(tried)])


def _told_apart(tried: Mapping[Key, Tried]) -> list[Row]:
    """How well what is not rebuilt tells each change, at its strongest, from the unchanged images."""
    clean, found = tried[UNCHANGED].errors, dict[str, Row]()
    for (kind, name, level), one in tried.items():
        if clean is not None and one.errors is not None and kind not in (UNCHANGED[0], "target"):
            found[name] = Row("told apart", label(kind, name, level), None, roc(clean, one.errors).area)
    return list(found.values())


def _let_through(tried: Mapping[Key, Tried]) -> list[Row]:
    """How many images fool the network without being rejected."""
    clean = tried[UNCHANGED].errors
    if clean is None:
        return []
    limit = threshold(clean)
    return [
        Row("let through", name, level, (~one.right & (one.errors <= limit)).float().mean().item())
        for (kind, name, level), one in tried.items()
        if kind == "attack" and one.errors is not None
    ]
