"""Any network on any data set; the defaults are for colour pictures of 32 to 128 pixels, such as your own."""

from capsnet_dist import datasets, losses, models, schedules
from capsnet_dist.train import Run, main

if __name__ == "__main__":
    main(
        Run(
            name="{model}-{data}",
            data=datasets("folder"),
            model=models("self_routing_resnet"),
            loss=losses("negative_log_likelihood"),
            regularizer=losses("none"),
            schedule=schedules("exponential"),
            batch_size=64,
            epochs=60,
        )
    )
