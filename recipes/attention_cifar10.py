"""Inverted dot-product attention on CIFAR-10 (Tsai et al., 2020), two iterations, with a residual backbone."""

from capsnet_dist import augmentations, datasets, losses, models, optimizers, routings, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="attention_cifar10",
    data=datasets("cifar10"),
    model=models("attention_resnet", routing=routings("attention", iterations=2)),
    loss=losses("cross_entropy"),
    regularizer=losses("none"),
    augmentation=augmentations("chain", parts=(augmentations("crop", padding=4), augmentations("flip"))),
    optimizer=optimizers("sgd", weight_decay=5e-4),
    schedule=schedules("stepwise", at=(150 / 350, 250 / 350)),
    lr=0.1,
    normalization="channels",
    batch_size=128,
    epochs=350,
)
reference = Reference(
    source="Tsai et al. (2020)", table="README of the authors' code, mean", value=94.85, unit="test accuracy, %"
)

if __name__ == "__main__":
    main(run)
