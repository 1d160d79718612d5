"""DeepCaps on CIFAR-10 in 64x64 pixels (Rajasegaran et al., 2019), the first 100 epochs of the authors' code."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="deepcaps_cifar10",
    data=datasets("cifar10"),
    model=models("deepcaps"),
    loss=losses("margin"),
    regularizer=losses("reconstruction", weight=0.4),
    augmentation=augmentations(
        "chain", parts=(augmentations("flip"), augmentations("resized_crop", side=64, area=0.81, stretch=0.0))
    ),
    schedule=schedules("geometric", final=0.5**10, stairs=10),
    batch_size=256,
    epochs=100,
)
reference = Reference(
    source="Rajasegaran et al. (2019)", table="README of the authors' code, seven networks together", value=7.26
)

if __name__ == "__main__":
    main(run)
