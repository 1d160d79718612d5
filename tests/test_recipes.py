"""Recipes of papers: each can be trained, and has the network that the paper describes."""

from pathlib import Path

import pytest
import torch

from capsnet_dist import Split
from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import make_order
from capsnet_dist.data.pairs import pair_up
from capsnet_dist.kernels import fast_paths
from capsnet_dist.reproduction.recipes import all_in
from capsnet_dist.run import check
from capsnet_dist.training.objective import loss_terms

RECIPES = all_in(Path(__file__).parents[1] / "recipes")
IMAGES = {
    "mnist": (1, 28, 28),
    "multimnist": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
    "affnist": (1, 40, 40),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "svhn": (3, 32, 32),
}
NUM_CLASSES = {"cifar100": 100, "smallnorb": 5}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_takes_a_step_and_has_the_published_number_of_parameters(recipe):
    run = recipe.run
    check(run, 1)
    data = run.data
    side = data.options.get("side", 0)
    shape = IMAGES.get(data.name, (2, side, side))
    pixels = torch.randint(256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    training = Split(pixels, torch.tensor([0, 1]))
    if data.name == "multimnist":
        training = pair_up(training, 1, pixels=4, seed=0)
    order = make_order(run.sampling, training.labels, 2, run.seed)
    batches = Batches(training, run.augmentation.build(), order, torch.float32)
    batch = batches.shard(0, 0, 1)
    criteria = [run.loss.build(), run.regularizer.build()]
    with fast_paths(allowed=False):  # which would be compiled first
        model = run.model.build(batches.image, NUM_CLASSES.get(data.name, 10))
        loss = loss_terms(criteria, model(batch.images, batch.labels), batch, 0.0)["loss"]
        loss.backward()
    run.optimizer.build(model.parameters(), run.lr * run.schedule.build(10)(0)).step()
    assert loss.isfinite() and all(parameter.isfinite().all() for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in model.parameters())
    if recipe.reference.parameters is not None:
        counts = {name: tensor.numel() for name, tensor in model.named_parameters()}
        whole = sum(counts.values())
        without = whole - sum(number for name, number in counts.items() if name.startswith("decoder."))
        assert any(count == pytest.approx(recipe.reference.parameters, rel=0.04) for count in (whole, without))


def test_recipes_are_named_after_their_files():
    assert [recipe.run.name for recipe in RECIPES] == [recipe.name for recipe in RECIPES]
