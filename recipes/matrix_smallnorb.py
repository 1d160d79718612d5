"""Matrix capsules with EM routing on smallNORB (Hinton et al., 2018), three iterations, A = B = C = D = 32."""

from capsnet_dist import augmentations, datasets, losses, models, optimizers, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="matrix_smallnorb",
    data=datasets("smallnorb", side=48),
    model=models("matrix_capsnet"),
    loss=losses("spread"),
    regularizer=losses("none"),
    augmentation=augmentations(
        "chain", parts=(augmentations("brightness_contrast"), augmentations("crop", side=32, padding=0))
    ),
    optimizer=optimizers("adam", weight_decay=2e-7),
    schedule=schedules("geometric", final=0.96**100),  # 0.96 every 20,000 steps
    lr=3e-3,
    normalization="image",
    batch_size=64,
    epochs=5300,  # two million steps
)
reference = Reference(source="Hinton et al. (2018)", table="as the authors' code tells", value=1.8, parameters=310_000)

if __name__ == "__main__":
    main(run)
