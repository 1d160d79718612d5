"""What the page asks: JSON that may be anything, as plain values within their bounds."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
from jaxtyping import Float, UInt8

from capsnet_dist.demo.stage import Stage
from capsnet_dist.errors import UserError

MAX_BODY = 33_000_000  # bytes of a request: room for a picture of 24 MB in base64
MAX_ROWS = 64  # reconstructions in one answer
MAX_MAPS = 8  # classes whose couplings are in one answer
FARTHEST = 1e6  # how far a number of a pose may be moved

Polarity = Literal["auto", "keep", "turn"]


class Look(NamedTuple):
    """Classify a picture or a test image."""

    stage: Stage
    picture: bytes | None
    """An image file; None: a test image of the first network."""
    test: int
    """Which one."""
    polarity: Polarity
    """Whether dark and light are exchanged: "auto" as its ground says."""
    of: int | None
    """The class whose capsule an image is rebuilt from; None: the predicted one."""


class Rebuild(NamedTuple):
    """Rebuild an image from the capsule of a class, whose pose is moved in several ways."""

    stage: Stage
    pixels: UInt8[np.ndarray, "c h w"]
    of: int
    offsets: Float[np.ndarray, "m d"]


class Effects(NamedTuple):
    """Say how much each number of the pose of a class changes what is rebuilt."""

    stage: Stage
    pixels: UInt8[np.ndarray, "c h w"]
    of: int


class Routing(NamedTuple):
    """Show how the parts of an image come to speak for some classes."""

    stage: Stage
    pixels: UInt8[np.ndarray, "c h w"]
    classes: list[int]


def read_look(body: bytes, stages: Sequence[Stage]) -> Look:
    """A request to classify.

    Raises:
        UserError: it is none.
    """
    data = _object(body)
    stage = stages[_integer(data, "run", len(stages))]
    polarity: Any = data.get("polarity", "auto")
    if polarity not in get_args(Polarity):
        raise UserError(f"polarity must be one of {', '.join(get_args(Polarity))}; got {polarity!r:.100}.")
    of = None if data.get("class") is None else _integer(data, "class", len(stage.model.classes))
    if data.get("picture") is not None:
        return Look(stage, _bytes(data, "picture"), 0, polarity, of)
    tests = stages[0].tests
    if tests is None:
        raise UserError("There are no test images: send a picture.")
    return Look(stage, None, _integer(data, "test", len(tests.labels)), polarity, of)


def read_rebuild(body: bytes, stages: Sequence[Stage]) -> Rebuild:
    """A request to rebuild.

    Raises:
        UserError: it is none.
    """
    data = _object(body)
    stage, pixels, of = _capsule(data, stages)
    return Rebuild(stage, pixels, of, _offsets(data, stage.known.poses.shape[-1]))


def read_effects(body: bytes, stages: Sequence[Stage]) -> Effects:
    """A request for effects.

    Raises:
        UserError: it is none.
    """
    return _capsule(_object(body), stages)


def read_routing(body: bytes, stages: Sequence[Stage]) -> Routing:
    """A request for couplings.

    Raises:
        UserError: it is none.
    """
    data = _object(body)
    stage = stages[_integer(data, "run", len(stages))]
    named = _list(data.get("classes"))
    if not 1 <= len(named) <= MAX_MAPS:
        raise UserError(f"classes must be a list of 1 to {MAX_MAPS} numbers.")
    number = len(stage.model.classes)
    classes = [_integer({"classes": label}, "classes", number) for label in named]
    return Routing(stage, _pixels(data, stage), classes)


def _capsule(data: dict[str, Any], stages: Sequence[Stage]) -> Effects:
    """The network, the pixels and the class of a request."""
    stage = stages[_integer(data, "run", len(stages))]
    return Effects(stage, _pixels(data, stage), _integer(data, "class", len(stage.model.classes)))


def _object(body: bytes) -> dict[str, Any]:
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError("The request is no JSON.") from error
    if not isinstance(data, dict):
        raise UserError("The request must be a JSON object.")
    return cast(dict[str, Any], data)


def _integer(data: dict[str, Any], key: str, number: int) -> int:
    value = data.get(key)
    if type(value) is not int or not 0 <= value < number:
        raise UserError(f"{key} must be an integer from 0 to {number - 1}; got {value!r:.100}.")
    return value


def _bytes(data: dict[str, Any], key: str) -> bytes:
    value = data.get(key)
    try:
        return base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{key} must be text in base64.") from error


def _pixels(data: dict[str, Any], stage: Stage) -> UInt8[np.ndarray, "c h w"]:
    found = _bytes(data, "pixels")
    channels, height, width = stage.model.image
    if len(found) != channels * height * width:
        shape = f"{channels}x{height}x{width}"
        raise UserError(f"pixels must be {shape} = {channels * height * width} bytes; got {len(found)}.")
    return np.frombuffer(bytearray(found), np.uint8).reshape(channels, height, width)


def _offsets(data: dict[str, Any], dim: int) -> Float[np.ndarray, "m d"]:
    rows = _list(data.get("offsets"))
    if not 1 <= len(rows) <= MAX_ROWS:
        raise UserError(f"offsets must be a list of 1 to {MAX_ROWS} lists.")
    for row in map(_list, rows):
        if len(row) != dim or not all(map(_is_near, row)):
            raise UserError(f"Each of the offsets must be a list of {dim} numbers from {-FARTHEST:g} to {FARTHEST:g}.")
    return np.array(rows, np.float32)


def _list(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []


def _is_near(value: Any) -> bool:
    return type(value) in (int, float) and -FARTHEST <= value <= FARTHEST  # not a number is near nothing
