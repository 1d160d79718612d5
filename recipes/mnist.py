"""CapsNet on MNIST, as the paper describes it (Sabour et al., 2017, section 5 and Table 1)."""

from capsnet_dist import augmentations, datasets, losses, models
from capsnet_dist.train import Run, main

run = Run(
    name="mnist",
    data=datasets("mnist"),
    model=models("capsnet"),
    loss=losses("margin"),
    augmentation=augmentations("shift", pixels=2),
    batch_size=128,
    epochs=100,
)

if __name__ == "__main__":
    main(run)
