"""Self-routing capsules, SR-1 on ResNet-20, on SVHN (Hahn et al., 2019)."""

from capsnet_dist import augmentations, datasets, losses, models, optimizers, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="self_routing_1_svhn",
    data=datasets("svhn"),
    model=models("self_routing_resnet", depth=1),
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
reference = Reference(source="Hahn et al. (2019)", table="poster", value=3.34, spread=0.08, parameters=900_000)

if __name__ == "__main__":
    main(run)
