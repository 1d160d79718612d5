"""Self-routing capsules, SR-2 on ResNet-20, on SVHN (Hahn et al., 2019)."""

from capsnet_dist import augmentations, datasets, losses, models, optimizers, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="self_routing_2_svhn",
    data=datasets("svhn"),
    model=models("self_routing_resnet", depth=2),
    loss=losses("negative_log_likelihood"),
    regularizer=losses("none"),
    augmentation=augmentations("crop", padding=4),
    optimizer=optimizers("sgd", weight_decay=1e-4),
    schedule=schedules("stepwise", at=(0.5, 0.75)),
    lr=0.1,
    normalization="channels",
    batch_size=64,
    epochs=200,
)
reference = Reference(source="Hahn et al. (2019)", table="poster", value=3.12, spread=0.13, parameters=3_200_000)

if __name__ == "__main__":
    main(run)
