"""Checks that every plugin must pass, for those who write one (after scikit-learn's check_estimator)."""

from capsnet_dist.testing.augmentation import check_augmentation
from capsnet_dist.testing.dataset import check_dataset
from capsnet_dist.testing.law import Broken
from capsnet_dist.testing.layer import check_layer
from capsnet_dist.testing.loss import check_loss
from capsnet_dist.testing.model import check_model
from capsnet_dist.testing.report import ChecksFailed, Report, Result
from capsnet_dist.testing.routing import check_routing, parametrize_with_routing_checks
from capsnet_dist.testing.schedule import check_schedule
from capsnet_dist.testing.target import check_target, run

__all__ = [
    "Broken",
    "ChecksFailed",
    "Report",
    "Result",
    "check_augmentation",
    "check_dataset",
    "check_layer",
    "check_loss",
    "check_model",
    "check_routing",
    "check_schedule",
    "check_target",
    "parametrize_with_routing_checks",
    "run",
]
