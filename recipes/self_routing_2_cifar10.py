"""Self-routing capsules, SR-2 on ResNet-20, on CIFAR-10 (Hahn et al., 2019)."""

from capsnet_dist import augmentations, datasets, losses, models, optimizers, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="self_routing_2_cifar10",
    data=datasets("cifar10"),
    model=models("self_routing_resnet", depth=2),
    loss=losses("negative_log_likelihood"),
    regularizer=losses("none"),
    augmentation=augmentations("chain", parts=(augmentations("crop", padding=4), augmentations("flip"))),
    optimizer=optimizers("sgd", weight_decay=1e-4),
    schedule=schedules("stepwise", at=(150 / 350, 250 / 350)),
    lr=0.1,
    normalization="channels",
    batch_size=64,
    epochs=350,
)
reference = Reference(source="Hahn et al. (2019)", table="poster", value=7.86, spread=0.12, parameters=3_200_000)

if __name__ == "__main__":
    main(run)
