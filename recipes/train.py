"""Any network on any data set. The defaults are a first try on your own pictures: --data.root FOLDER."""

from capsnet_dist import augmentations, datasets, losses, models, schedules
from capsnet_dist.train import Run, main

run = Run(
    name="{model}-{data}",
    data=datasets("folder"),
    model=models("self_routing_resnet"),  # 0.9 million parameters; for colour pictures of 32 to 128 pixels
    loss=losses("negative_log_likelihood"),
    regularizer=losses("none"),
    augmentation=augmentations("shift"),
    schedule=schedules("constant"),  # the averaged weights settle all the same
    batch_size=64,
    epochs=20,
)

if __name__ == "__main__":
    main(run)
