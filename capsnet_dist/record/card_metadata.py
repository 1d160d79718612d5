"""What the Hugging Face Hub reads of a model card: the block of YAML that it begins with."""

from collections.abc import Mapping

from capsnet_dist import config
from capsnet_dist.plugins import Model
from capsnet_dist.record.results import Evaluation
from capsnet_dist.run import Run
from capsnet_dist.saved import hub
from capsnet_dist.text import printable

TASK = "image-classification"
UNKNOWN = "unknown"
"""The licence of weights whose owner has named none: the Hub's own word."""


def front_matter(run: Run, model: Model, results: Mapping[str, Evaluation]) -> str:
    """Library, licence, tags, data set, base and results, between two lines of three dashes.

    Args:
        run: The configuration.
        model: The network.
        results: What the weights achieve on the test split; nothing where it was not evaluated.
    """
    from huggingface_hub import EvalResult, ModelCardData

    known = _on_hub(run)
    selected = results.get("selected")
    found = {} if selected is None else {"accuracy": selected.accuracy, "f1": selected.macro_f1, "loss": selected.loss}
    names = {"accuracy": "Accuracy", "f1": "Macro F1", "loss": "Loss"}
    evaluations = [
        EvalResult(
            task_type=TASK,
            dataset_type=known or run.data.name,
            dataset_name=run.data.name,
            dataset_split="test",
            metric_type=kind,
            metric_name=names[kind],
            metric_value=round(value, 6),
        )
        for kind, value in found.items()
    ]
    card = ModelCardData(
        library_name="capsnet_dist",
        pipeline_tag=TASK,
        license=UNKNOWN,
        tags=_tags(run),
        datasets=[known] if known else None,
        metrics=["accuracy", "f1"],
        base_model=_base(run.start or run.weights),
        model_name=printable(run.name) if evaluations else None,
        eval_results=evaluations or None,
    )
    return f"---\n{card.to_yaml()}\n---\n"


def _on_hub(run: Run) -> str:
    """The repository of the data set on the Hub; nothing where none is known."""
    published = getattr(run.data.registry[run.data.name], "hub", None)
    return published if isinstance(published, str) else str(run.data.options.get("repository", "")).partition("@")[0]


def _tags(run: Run) -> list[str]:
    """Words by which it is found: the network, its routings and the data."""
    routings = [choice.name for choice in config.choices(run.model) if choice.registry.kind == "routing"]
    words = ["capsule-network", run.model.name, *(f"{name}-routing" for name in routings), run.data.name]
    return [*dict.fromkeys(map(printable, words))]


def _base(start: str | None) -> str | None:
    """The network on the Hub that the training started from."""
    place = hub.place(start) if start else None
    return place and place.repository
