"""A network put together on the command line: any stem, any primary capsules, any layers."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.capsules import lengths
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.plugins import (
    Decoder,
    Image,
    Layer,
    Model,
    Output,
    Primary,
    Stem,
    decoders,
    layers,
    models,
    primaries,
    stems,
)
from capsnet_dist.registry import Choice

CAPSNET_LAYERS = (layers("dense"),)


@models.register("stack")
class Stack(Model):
    """A stem, primary capsules and any layers, one upon another. The defaults are CapsNet (Sabour et al., 2017).

    `--model.layers convolutional dense` names the layers from below, `--model.layers.0.types 8` sets an option of one.
    Squashing squares short lengths: in a deep stack, give routings a bias or matrices a larger deviation, else nothing
    of the image is left at the top, nor of the gradient at the bottom.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        stem: How feature maps are made.
        primary: How the first capsules are made of them.
        layers: The layers above, by name; the last makes the class capsules, as many as there are classes.
        decoder: How an image is rebuilt from a class capsule.

    Raises:
        UserError: no layer, the last one cannot make class capsules, or the image is too small for all of them.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        stem: Choice[Stem] = stems("convolution"),
        primary: Choice[Primary] = primaries("vector"),
        layers: tuple[Choice[Layer], ...] = CAPSNET_LAYERS,
        decoder: Choice[Decoder] = decoders("masked"),
    ) -> None:
        super().__init__(image, classes)
        if not layers:
            raise UserError("A stack needs at least one layer, for the class capsules: --model.layers dense.")
        chosen = [*layers[:-1], _with_wholes(layers[-1], classes)]
        try:
            self.stem = stem.build(image)
            self.primary = primary.build(self.stem.maps)
            self.outputs = self.primary.outputs
            self.layers = nn.ModuleList()
            for layer in chosen:
                self.layers.append(built := layer.build(self.outputs))
                self.outputs = built.outputs
        except UserError as error:
            names = " -> ".join(choice.name for choice in (stem, primary, *chosen))
            raise UserError(f"Images of {image[1]}x{image[2]} pixels, {names}: {error}") from error
        if self.outputs.num_capsules != classes:
            name, made = chosen[-1].name, self.outputs.num_capsules
            raise UserError(f"The last layer, {name!r}, makes {made} capsules; there are {classes} classes.")
        self.decoder = decoder.build(image, classes, self.outputs.dim)

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are the activations of the class capsules, or their lengths where they have no activations."""
        capsules = self.primary(self.stem(images))
        for layer in self.layers:
            capsules = layer(capsules)
        poses, activations = capsules
        scores = activations if self.outputs.activations else lengths(poses)
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))


def _with_wholes(layer: Choice[Layer], classes: int) -> Choice[Layer]:
    """The last layer with a capsule for each class."""
    if "wholes" not in layer.options:
        able = [name for name in layer.registry if "wholes" in layer.registry.options(name)]
        raise UserError(
            f"The last layer makes the class capsules, so it needs an option 'wholes', which {layer.name!r} lacks."
            f"{did_you_mean(layer.name, able)}"
        )
    return layer.replace(wholes=classes)
