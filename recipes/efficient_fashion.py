"""Efficient-CapsNet on Fashion-MNIST, which its paper does not try: settings as for MNIST, images only shifted."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="efficient_fashion",
    data=datasets("fashion_mnist"),
    model=models("efficient_capsnet"),
    loss=losses("margin"),
    augmentation=augmentations("shift", pixels=2),
    schedule=schedules("geometric", final=0.97**150, floor=0.1, stairs=150),
    lr=5e-4,
    batch_size=16,
    epochs=150,
)
reference = Reference(source="nobody", table="the paper has no such result", value=None)

if __name__ == "__main__":
    main(run)
