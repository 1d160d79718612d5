"""CapsNet on MNIST with the loss and the initialization of the authors' code, which differ from the paper's text."""

from capsnet_dist import augmentations, datasets, losses, models, routings
from capsnet_dist.train import Run, main

run = Run(
    name="mnist_authors",
    data=datasets("mnist"),
    model=models("capsnet", initialization="authors", primary_factor=1 / 32, routing=routings("dynamic", bias=True)),
    loss=losses("margin", scale="authors"),
    augmentation=augmentations("shift", pixels=2),
    batch_size=128,
    epochs=640,  # their 300,000 steps
)

if __name__ == "__main__":
    main(run)
