"""What the page is told: each answer is plain data, and follows from the request and the networks alone."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from capsnet_dist.analysis import iterations, views
from capsnet_dist.data.reading import Reading
from capsnet_dist.demo import requests
from capsnet_dist.demo.stage import Stage, sample
from capsnet_dist.figures import poses
from capsnet_dist.images.fit import MODES
from capsnet_dist.images.ground import is_turned
from capsnet_dist.registry import Choice

LONG = 0.5  # a capsule as long as that says that its class is there
DIGITS = 5  # decimals of numbers that are sent


def about(stages: Sequence[Stage]) -> dict[str, Any]:
    """What the page must know before anything is drawn."""
    return {"runs": [_about(stage) for stage in stages]}


def _about(stage: Stage) -> dict[str, Any]:
    model = stage.model
    options = {} if model.choice is None else model.choice.options
    routed = options.get("routing")
    return {
        "name": stage.name,
        "network": None if model.choice is None else model.choice.name,
        "routing": routed.name if isinstance(routed, Choice) else None,
        "data": stage.data,
        "accuracy": None if stage.accuracy is None else _round(stage.accuracy),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "image": list(model.image),
        "classes": list(model.classes),
        "dim": stage.known.poses.shape[-1],
        "kind": stage.kind,
        "long": LONG,
        "rebuilds": stage.rebuilds,
        "reach": stage.reach,
        "drawable": model.image[0] in MODES,
        "tests": 0 if stage.tests is None else len(stage.tests.labels),
        "missing": stage.missing,
        "ground": stage.ground,
        "frame": None if stage.frame is None else {key: _round(value) for key, value in stage.frame._asdict().items()},
    }


def look(request: requests.Look, stages: Sequence[Stage]) -> dict[str, Any]:
    """The pixels that a network sees, its scores, and what it rebuilds from one class capsule, or from both winners."""
    stage = request.stage
    pixels, turned, truth = _seen_pixels(request, stages[0])
    seen = stage.see(pixels)
    scores = seen.scores[0]
    predicted = int(seen.predicted[0])
    of = predicted if request.of is None else request.of
    two = winners(scores, stage)
    found: dict[str, Any] = {
        "pixels": encoded(pixels),
        "turned": turned,
        "truth": truth,
        "scores": _numbers(scores),
        "predicted": predicted,
        "winners": two,
    }
    other = next((label for label in two if len(two) == 2 and label != of), None)
    beside = None if other is None else {"class": other, "rebuilt": _rebuilt(stage, seen, other)}
    return found | {"class": of, "rebuilt": _rebuilt(stage, seen, of), "beside": beside} | _pose(stage, seen, of)


def _rebuilt(stage: Stage, seen: views.Seen, of: int) -> str | None:
    """What is rebuilt from the capsule of a class; None without a decoder."""
    rebuilt = stage.rebuild(seen.poses, of)
    return None if rebuilt is None else encoded(_bytes(rebuilt[0]))


def _pose(stage: Stage, seen: views.Seen, of: int) -> dict[str, Any]:
    """The pose of one class capsule, and how far usual ones are from it."""
    usual = stage.usual(of)
    offsets = None if usual is None else (usual - seen.poses[0, of]).tolist()
    return {"pose": _numbers(seen.poses[0, of]), "usual": offsets}


def rebuild(request: requests.Rebuild, stages: Sequence[Stage]) -> dict[str, Any]:
    """What is rebuilt from the capsule of a class, moved in several ways; nothing without a decoder."""
    stage, of = request.stage, request.of
    seen = stage.see(request.pixels)
    moved = seen.poses.repeat(len(request.offsets), 1, 1)
    moved[:, of] += torch.from_numpy(request.offsets).to(moved)
    rebuilt = stage.rebuild(moved, of)
    return {"images": None if rebuilt is None else [encoded(_bytes(image)) for image in rebuilt]}


def effects(request: requests.Effects, stages: Sequence[Stage]) -> dict[str, Any]:
    """How much each number of a pose changes a pixel from end to end of its range; nothing without a decoder."""
    ends = torch.tensor([-request.stage.reach, request.stage.reach])
    moved = views.perturb(request.stage.model, request.stage.see(request.pixels), ends, request.of)
    return {"effects": None if moved is None else _numbers(poses.effects(views.array(moved)))}


def routing(request: requests.Routing, stages: Sequence[Stage]) -> dict[str, Any]:
    """Which positions of an image speak for which class, iteration by iteration; or why that is not known."""
    stage = request.stage
    seen = stage.see(request.pixels)
    found = iterations.watch(stage.model, seen.images)
    if found is None:
        return {"reason": "no routing that sees all parts of an image at once makes the class capsules"}
    even = 1 / found.couplings.shape[-1]
    shown = iterations.maps(found)[:, 0, request.classes] - even
    return {
        "maps": [[[_numbers(row) for row in rows] for rows in each] for each in shown],
        "entropy": _numbers(iterations.entropy(found.couplings)[:, 0]),
        "agreement": [_numbers(row) for row in found.agreement[:, 0, request.classes]],
        "even": even,
        "parts": found.couplings.shape[2],
        "extent": stage.extent._asdict(),
    }


Reader = Callable[[bytes, Sequence[Stage]], Any]
Answerer = Callable[[Any, Sequence[Stage]], dict[str, Any]]

ANSWERS: Mapping[str, tuple[Reader, Answerer]] = {
    "look": (requests.read_look, look),
    "rebuild": (requests.read_rebuild, rebuild),
    "effects": (requests.read_effects, effects),
    "routing": (requests.read_routing, routing),
}
"""By its name, how a request is read, and how it is answered."""


def winners(scores: Float[Tensor, " j"], stage: Stage) -> list[int]:
    """The classes that are there: at most two whose capsules are long; of scores that are no lengths, the largest."""
    largest = scores.argsort(descending=True)[:2].tolist()
    if stage.kind == "score":
        return largest[:1]
    return [label for label in largest if scores[label] > LONG]


def encoded(pixels: UInt8[np.ndarray, "c h w"]) -> str:
    """Pixels as text in base64."""
    return base64.b64encode(pixels.tobytes()).decode("ascii")


def _seen_pixels(request: requests.Look, first: Stage) -> tuple[UInt8[np.ndarray, "c h w"], bool, list[int] | None]:
    """What a network sees, whether dark and light were exchanged, and the classes of it, where they are known."""
    stage = request.stage
    if request.picture is not None:
        return *_read(request.picture, stage, request.polarity), None
    pixels, labels = sample(first, request.test)
    truth = labels if first.model.classes == stage.model.classes else None
    if pixels.shape != stage.model.image:
        return *_read(_as_file(pixels), stage, request.polarity), truth
    turned = _is_to_turn(pixels, stage, request.polarity)
    return 255 - pixels if turned else pixels, turned, truth


def _read(picture: bytes, stage: Stage, polarity: requests.Polarity) -> tuple[UInt8[np.ndarray, "c h w"], bool]:
    """A picture as a network takes it, and whether dark and light were exchanged, before pads were added."""
    model = stage.model
    reading = Reading.of(model)

    def read(*, inverted: bool) -> UInt8[np.ndarray, "c h w"]:
        pixels = replace(reading, is_inverted=inverted).sent(picture, "The picture").pixels
        return (pixels if pixels.shape == model.image else stage.still(pixels[None])[0]).numpy()

    pixels = read(inverted=False)
    turned = _is_to_turn(pixels, stage, polarity)
    return (read(inverted=True) if turned else pixels), turned


def _is_to_turn(pixels: UInt8[np.ndarray, "c h w"], stage: Stage, polarity: requests.Polarity) -> bool:
    return polarity == "turn" or (polarity == "auto" and is_turned(pixels, stage.ground))


def _as_file(pixels: UInt8[np.ndarray, "c h w"]) -> bytes:
    """An image of one network as a picture for another; of two views, the first."""
    from PIL import Image

    shown = pixels[:3] if len(pixels) >= 3 else pixels[:1]
    file = io.BytesIO()
    picture = Image.fromarray(rearrange(shown, "c h w -> h w c") if len(shown) == 3 else shown[0])
    picture.save(file, "PNG")
    return file.getvalue()


def _bytes(image: Float[Tensor, "c h w"]) -> UInt8[np.ndarray, "c h w"]:
    return (255 * image.clamp(0, 1)).round().byte().numpy()


def _numbers(values: Any) -> list[float]:
    return [_round(value) for value in values.tolist()]


def _round(value: float) -> float:
    return round(value, DIGITS)
