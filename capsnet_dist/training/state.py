"""All that the next step of a training depends on, and how a checkpoint holds it."""

from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from capsnet_dist.plugins import Model
from capsnet_dist.saved.checkpoint import Checkpoint
from capsnet_dist.saved.state import optimizer_tensors, restore_optimizer
from capsnet_dist.training.ema import MovingAverage
from capsnet_dist.training.selection import Best


class TrainingState:
    """What is learned, the best of it so far, and how many steps led there.

    Args:
        model: The network.
        optimizer: Follows its gradient.
        average: Moving average of its weights, if there is one.
        scaler: Scales the loss where gradients are computed in float16.
    """

    done = 0
    """Steps that were taken."""
    skipped = 0
    """How many of the last ones, in a row, had no finite gradient."""
    evaluation_due = False
    """Whether the last step ended an epoch that has not been evaluated yet."""

    def __init__(
        self, model: Model, optimizer: Optimizer, average: MovingAverage | None, scaler: GradScaler | None
    ) -> None:
        self.model, self.optimizer, self.average, self.scaler = model, optimizer, average, scaler
        self.best = Best()

    @property
    def candidates(self) -> dict[str, Model]:
        """The weights that compete to be selected."""
        return {"last": self.model} if self.average is None else {"last": self.model, "ema": self.average.model}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All tensors, by file and name."""
        held = {"model": self.model.state_dict(), "best": self.best.state}
        if self.average is not None:
            held["average"] = self.average.model.state_dict()
        return held | {"optimizer": optimizer_tensors(self.model, self.optimizer)}

    def values(self) -> dict[str, Any]:
        """All that is not a tensor, for JSON."""
        return {
            "best": {"name": self.best.name, "step": self.best.step, "rank": self.best.rank},
            "evaluation_due": self.evaluation_due,
            "skipped": self.skipped,
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }

    def restore(self, found: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.done, tensors, values = found
        self.model.load_state_dict(tensors["model"])
        if self.average is not None:
            self.average.model.load_state_dict(tensors["average"])
        restore_optimizer(self.model, self.optimizer, tensors["optimizer"])
        best = values["best"]
        self.best.set(best["name"], best["step"], best["rank"], tensors["best"])
        self.skipped, self.evaluation_due = values["skipped"], values["evaluation_due"]
        if self.scaler is not None and values["scaler"]:
            self.scaler.load_state_dict(values["scaler"])
