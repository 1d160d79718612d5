"""Efficient-CapsNet on smallNORB (Mazzia et al., 2021), with the settings of the authors' code."""

from capsnet_dist import augmentations, datasets, decoders, losses, models, schedules, stems
from capsnet_dist.reference import Reference
from capsnet_dist.train import Run, main

run = Run(
    name="efficient_smallnorb",
    data=datasets("smallnorb", side=64),
    model=models(
        "efficient_capsnet",
        stem=stems("efficient", kernels=(7, 3, 3, 3), strides=(2, 1, 1, 2), normalization="instance"),
        decoder=decoders("upsampling"),
    ),
    loss=losses("margin"),
    augmentation=augmentations(
        "chain",
        parts=(augmentations("crop", side=48, padding=0), augmentations("brightness_contrast", contrast=0.5)),
    ),
    schedule=schedules("geometric", final=0.97**150, floor=0.1, stairs=150),
    lr=5e-4,
    normalization="channels",
    batch_size=16,
    epochs=150,
)
reference = Reference(source="Mazzia et al. (2021)", table="Table 4, not checked yet", value=None, parameters=151_000)

if __name__ == "__main__":
    main(run)
