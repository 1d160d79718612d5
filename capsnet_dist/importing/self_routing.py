"""Self-routing capsules in PyTorch: coder3000/SR-CapsNet."""

from einops import rearrange
from torch import Tensor

from capsnet_dist.importing.foreign import Foreign, Imported, Told
from capsnet_dist.importing.parts import by_type
from capsnet_dist.importing.sides import side_of
from capsnet_dist.plugins import Stem, models, stems
from capsnet_dist.registry import Choice

NORM = ("weight", "bias", "running_mean", "running_var")
STANDARDIZED = (
    "Pixels are taken as they are. Its code standardizes those of CIFAR-10 (--mean 0.4914 0.4822 0.4465 --std 0.2023 "
    "0.1994 0.2010) and of SVHN (--mean 0.4310 0.4302 0.4463 --std 0.1965 0.1984 0.1992), and not those of smallNORB."
)


def self_routing(foreign: Foreign, told: Told) -> Imported:
    """Its ResNet with capsules in the mode SR, of any depth; DR and EM have other weights and are refused."""
    inner, choice = _stem(foreign)
    pose, activation = foreign.take(r"conv_pose\.weight", 4), foreign.take(r"conv_a\.weight", 4)
    types, dim = len(activation), len(pose) // len(activation)
    state = {"primary.pose.weight": pose, "primary.activation.weight": activation}
    state |= _norm(foreign, r"bn_pose", "primary.pose_norm.norm") | _norm(foreign, r"bn_a", "primary.activation_norm")
    depth = 1
    while foreign.names(rf"conv_layers\.{depth - 1}\..*"):
        place, name = rf"conv_layers\.{depth - 1}", f"layers.{depth - 1}"
        votes = by_type(foreign.take(place + r"\.W1", 3), types)
        state[f"{name}.routed.weight"] = rearrange(votes, "i (j d) p -> i j d p", d=dim)
        state |= _routing(foreign, place, f"{name}.routed.routing", types)
        state |= _norm(foreign, rf"norm_layers\.{depth - 1}", f"{name}.norm.norm")
        depth += 1
    state |= _routing(foreign, "fc", "class_capsules.routing", types)
    foreign.end()
    parts, classes, _ = state["class_capsules.routing.weight"].shape
    side = side_of(foreign, parts // types, "the capsules below the classes")
    rows = told.size or side * 4 * (2 if depth > 1 else 1)  # two stages and the first capsules halve it
    if told.mean or told.std:
        channels = inner["conv.weight"].shape[1]
        choice = stems(
            "standardized", mean=told.mean or (0.0,) * channels, std=told.std or (1.0,) * channels, stem=choice
        )
    prefix = "stem.stem" if told.mean or told.std else "stem"
    state |= {f"{prefix}.{name}": tensor for name, tensor in inner.items()}
    network = models("self_routing_resnet", stem=choice, depth=depth, types=types, dim=dim)
    image = (inner["conv.weight"].shape[1], rows, rows)
    return Imported(network, image, classes, state, None, notes=() if told.mean or told.std else (STANDARDIZED,))


def _stem(foreign: Foreign) -> tuple[dict[str, Tensor], Choice[Stem]]:
    """The residual network below the capsules."""
    state = {"conv.weight": foreign.take(r"conv1\.weight", 4)} | _norm(foreign, "bn1", "norm")
    widths: list[int] = []
    blocks: list[int] = []
    for stage in (1, 2, 3):
        blocks.append(0)
        while foreign.names(place := rf"layer{stage}\.{blocks[-1]}\.conv1\.weight"):
            block, name = rf"layer{stage}\.{blocks[-1]}\.", f"blocks.{sum(blocks)}."
            for number in (1, 2):
                state[f"{name}conv{number}.weight"] = foreign.take(rf"{block}conv{number}\.weight", 4)
                state |= _norm(foreign, rf"{block}bn{number}", f"{name}norm{number}")
            blocks[-1] += 1
        if not blocks[-1]:
            foreign.refuse(f"no tensor is called {place}")
        widths.append(len(state[f"blocks.{sum(blocks) - 1}.conv2.weight"]))
    return state, stems("resnet", widths=tuple(widths), blocks=tuple(blocks))


def _routing(foreign: Foreign, theirs: str, ours: str, types: int) -> dict[str, Tensor]:
    """What decides where parts go."""
    bias = rearrange(foreign.take(rf"{theirs}\.b2", 4), "1 1 i j -> i j")
    weight = foreign.take(rf"{theirs}\.W2", 3)
    return {f"{ours}.weight": by_type(weight, types), f"{ours}.bias": by_type(bias, types)}


def _norm(foreign: Foreign, theirs: str, ours: str) -> dict[str, Tensor]:
    """A batch normalization."""
    return {f"{ours}.{name}": foreign.take(rf"{theirs}\.{name}", 1) for name in NORM}
