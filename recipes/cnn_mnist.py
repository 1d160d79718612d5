"""The convolutional baseline of CapsNet on MNIST (Sabour et al., 2017, Table 1)."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="cnn_mnist",
    data=datasets("mnist"),
    model=models("cnn"),
    loss=losses("cross_entropy"),
    regularizer=losses("none"),
    augmentation=augmentations("shift", pixels=2),
    schedule=schedules("geometric"),
    batch_size=128,
    epochs=640,  # the 300,000 steps of the authors' code
)
reference = Reference(source="Sabour et al. (2017)", table="Table 1", value=0.39, parameters=35_400_000)

if __name__ == "__main__":
    main(run)
