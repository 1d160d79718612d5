"""Homogeneous vector capsules on MNIST (Byerly et al., 2021), with the settings of the authors' code."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="hvc_mnist",
    data=datasets("mnist"),
    model=models("hvc"),
    loss=losses("cross_entropy"),
    regularizer=losses("none"),
    augmentation=augmentations("hvc"),
    schedule=schedules("geometric", final=0.98**300, floor=1e-4, stairs=300),
    batch_size=120,
    epochs=300,
)
reference = Reference(
    source="Byerly et al. (2021)", table="abstract, best single network", value=0.17, parameters=1_514_000
)

if __name__ == "__main__":
    main(run)
