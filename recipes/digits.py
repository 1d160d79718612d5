"""A small CapsNet on the 8x8 digits that come with scikit-learn: about a minute on two CPU cores."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.train import Run, main

run = Run(
    name="digits",
    data=datasets("digits"),
    model=models("capsnet", channels=64, kernel=3, primary_kernel=3),
    loss=losses("margin"),
    regularizer=losses("reconstruction", weight=20.0),  # poses then say how a digit is written
    augmentation=augmentations("none"),
    schedule=schedules("exponential", decay=0.96, every=25),
    lr=3e-3,
    batch_size=64,
    epochs=25,
)

if __name__ == "__main__":
    main(run)
