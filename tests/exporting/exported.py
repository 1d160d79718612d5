"""Small networks to export: one of each kind, which together have each routing."""

import onnxruntime
import torch

from capsnet_dist import build, decoders, layers, models, primaries, routings, save, stems
from capsnet_dist.exporting import export as files
from capsnet_dist.exporting.comparison import Case
from capsnet_dist.exporting.parts import batches

CONVOLUTION = stems("convolution", channels=4, kernel=3)
RESNET = stems("resnet", widths=(4,), blocks=(1,), shortcut="project")
ROUTED = ("max_min", "kmeans", "heinsen")
NETWORKS = {
    "attention_resnet": dict(stem=CONVOLUTION, primary_types=2, types=(2,), kernels=(3,), strides=(2,), side=2),
    "capsnet": dict(
        channels=4,
        kernel=3,
        primary_types=2,
        primary_kernel=3,
        routing=routings("dynamic", iterations=2),
        decoder=decoders("masked", hidden=(8,)),
    ),
    "cnn": dict(channels=(4,), kernels=(3,), hidden=(8,)),
    "deepcaps": dict(
        channels=4,
        types=2,
        dims=(4, 4),
        dim=4,
        skip=layers("three_dimensional", types=2, dim=4, routing=routings("dynamic", iterations=2)),
        routing=routings("uniform"),
    ),
    "efficient_capsnet": dict(stem=stems("efficient", channels=(4, 8), kernels=(3, 3), strides=(1, 2)), dim=4),
    "hvc": dict(channels=4, growth=2, branches=(1,)),
    "matrix_capsnet": dict(
        channels=4,
        primary_types=2,
        types=(2,),
        kernels=(3,),
        strides=(1,),
        routing=routings("em", iterations=1),
        class_routing=routings("em", iterations=2),
    ),
    "self_routing_resnet": dict(stem=RESNET, depth=1, types=2, dim=4),
    "stack": dict(
        stem=CONVOLUTION,
        primary=primaries("vector", types=2, kernel=5),
        layers=tuple(layers("dense", wholes=3, dim=4, routing=routings(name, iterations=2)) for name in ROUTED),
    ),
    "variational_capsnet": dict(
        channels=4,
        primary_types=2,
        types=(2,),
        kernels=(3,),
        strides=(1,),
        routing=routings("variational_bayes", iterations=2),
    ),
}
"""One of each network, small; together they have each routing."""

ENTRY = {"data": {"name": "digits"}}
"""What a training wrote of itself."""
IMAGES = torch.rand(7, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def network(name, **options):
    torch.manual_seed(0)
    return build(models(name, **{**NETWORKS[name], **options}), (1, 12, 12), ("a", "b", "c")).eval()


def export(model, file, form):
    subject = files.part_subject(model, "encoder", IMAGES[:5])
    return files.export(subject, files.metadata(model, "encoder"), file, form)


class Several(torch.nn.Module):
    """The encoders of several networks, by name: each export costs seconds, whatever is exported."""

    def __init__(self, found):
        super().__init__()
        self.found = torch.nn.ModuleDict(found)

    def forward(self, images):
        output = {name: model(images) for name, model in self.found.items()}
        return {f"{kind} {name}": getattr(o, kind) for name, o in output.items() for kind in ("scores", "poses")}


def export_several(found, file):
    """Write networks as one ONNX file, compared with each of them on batches of 1, 2 and 5."""
    module = Several(found)
    with torch.no_grad():
        cases = [Case({"images": IMAGES[:number]}, module(IMAGES[:number])) for number in (1, 2, 5)]
    subject = files.Subject(module, cases[1].inputs, batches(["images"]), cases, files.TOLERANCE)
    return files.export(subject, {"capsnet_dist": ""}, file, "onnx")


def session(file):
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def saved(folder, name):
    """The folder of an untrained network of digits, as a run leaves it."""
    torch.manual_seed(0)
    save(build(models(name, **NETWORKS[name]), (1, 8, 8), tuple("0123456789")), folder, run=ENTRY)
    return folder
