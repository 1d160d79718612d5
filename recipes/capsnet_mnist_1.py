"""CapsNet on MNIST, 1 iteration, without reconstruction (Sabour et al., 2017, Table 1)."""

from capsnet_dist import augmentations, datasets, decoders, losses, models, routings, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="capsnet_mnist_1",
    data=datasets("mnist"),
    model=models("capsnet", routing=routings("dynamic", iterations=1), decoder=decoders("none")),
    loss=losses("margin"),
    regularizer=losses("none"),
    augmentation=augmentations("shift", pixels=2),
    schedule=schedules("geometric"),
    batch_size=128,
    epochs=640,  # the 300,000 steps of the authors' code
)
reference = Reference(source="Sabour et al. (2017)", table="Table 1", value=0.34, spread=0.032, parameters=6_800_000)

if __name__ == "__main__":
    main(run)
