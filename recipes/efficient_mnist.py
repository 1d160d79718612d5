"""Efficient-CapsNet on MNIST (Mazzia et al., 2021), with the settings of the authors' code."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="efficient_mnist",
    data=datasets("mnist"),
    model=models("efficient_capsnet"),
    loss=losses("margin"),
    augmentation=augmentations("hvc"),
    schedule=schedules("geometric", final=0.97**150, floor=0.1, stairs=150),
    lr=5e-4,
    batch_size=16,
    epochs=150,
)
reference = Reference(
    source="Mazzia et al. (2021)", table="MNIST, mean of single networks", value=0.26, parameters=161_000
)

if __name__ == "__main__":
    main(run)
