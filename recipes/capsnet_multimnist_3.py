"""CapsNet on MultiMNIST, 3 iterations, with reconstruction (Sabour et al., 2017, Table 1)."""

from capsnet_dist import datasets, decoders, losses, models, routings, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="capsnet_multimnist_3",
    data=datasets("multimnist", pairs=100),
    model=models("capsnet", routing=routings("dynamic", iterations=3), decoder=decoders("two_object")),
    loss=losses("margin"),
    regularizer=losses("reconstruction", per="image", weight=0.0005),
    schedule=schedules("geometric", final=0.96**21),  # 0.96 every 20,000 steps
    batch_size=128,
    epochs=10,  # of 6 million pairs, as many as the paper has; it names no number of steps
)
reference = Reference(source="Sabour et al. (2017)", table="Table 1", value=5.2, parameters=11_360_000)

if __name__ == "__main__":
    main(run)
