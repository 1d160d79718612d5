"""Variational Bayes routing on smallNORB (Ribeiro et al., 2020)."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="variational_smallnorb",
    data=datasets("smallnorb", side=48),
    model=models("variational_capsnet"),
    loss=losses("cross_entropy"),
    regularizer=losses("none"),
    augmentation=augmentations(
        "chain", parts=(augmentations("brightness_contrast"), augmentations("crop", side=32, padding=0))
    ),
    schedule=schedules("geometric", final=0.89),  # 0.96 every 20,000 steps
    normalization="image",
    batch_size=128,
    epochs=300,
)
reference = Reference(
    source="Ribeiro et al. (2020)",
    table="README of the authors' code, three layers",
    value=98.7,
    unit="test accuracy, %",
)

if __name__ == "__main__":
    main(run)
