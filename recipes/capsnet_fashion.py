"""CapsNet on Fashion-MNIST, which its paper does not try: settings as for MNIST."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="capsnet_fashion",
    data=datasets("fashion_mnist"),
    model=models("capsnet"),
    loss=losses("margin"),
    augmentation=augmentations("shift", pixels=2),
    schedule=schedules("geometric"),
    batch_size=128,
    epochs=640,  # the 300,000 steps of the authors' code
)
reference = Reference(source="nobody", table="the paper has no such result", value=None)

if __name__ == "__main__":
    main(run)
