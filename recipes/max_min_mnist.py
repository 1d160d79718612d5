"""CapsNet with max-min normalisation on MNIST (Zhao et al., 2019); settings as for CapsNet."""

from capsnet_dist import augmentations, datasets, losses, models, routings, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="max_min_mnist",
    data=datasets("mnist"),
    model=models("capsnet", routing=routings("max_min")),
    loss=losses("margin"),
    augmentation=augmentations("shift", pixels=2),
    schedule=schedules("geometric"),
    batch_size=128,
    epochs=640,  # the 300,000 steps of the authors' code
)
reference = Reference(source="Zhao et al. (2019)", table="abstract, one network", value=0.20)

if __name__ == "__main__":
    main(run)
