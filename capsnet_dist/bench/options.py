"""What a benchmark compares, and on what."""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast, get_args

import torch

from capsnet_dist.bench.naive import Gradient
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.kernels import fast_paths
from capsnet_dist.plugins import models, routings

IMAGE = (1, 28, 28)  # MNIST, as in the paper
CLASSES = 10

SIZES: dict[str, dict[str, int]] = {"paper": {}, "small": {"channels": 32, "primary_types": 8}}
"""CapsNet as in the paper, and one of 1/60 of the multiplications."""

IMPLEMENTATIONS = ("naive", "einsum", "channels_last", "exact", "ours", "graphs")
"""What public implementations do, the same with the fastest plain votes, that with channels last in memory, this
package with `--exact`, as it is, and on a GPU with each step replayed as a CUDA graph, as `--compile graphs` trains."""

DTYPES = ("float32", "tf32", "bfloat16", "float64")
"""Precisions: float32 is exact on a GPU too, bfloat16 is autocast."""


PACKAGE = ("exact", "ours", "graphs")
"""Those of this package, which has more networks and routings."""


class Candidate(NamedTuple):
    """One way to compute a step."""

    implementation: str
    """"naive", "einsum", "channels_last", "exact", "ours" or "graphs"."""
    routing: str
    """Name of the routing; empty where the network has its own."""
    gradient: str
    """Of dynamic routing, "full" or "last"; empty for others."""
    compiled: bool = False
    """Whether torch.compile has been over it."""

    @property
    def label(self) -> str:
        """What tables call it: `ours, dynamic, full`."""
        return ", ".join([*filter(None, self[:3]), *(["compiled"] if self.compiled else [])])

    @property
    def of_package(self) -> bool:
        """Whether it is this package's, with fast paths or without."""
        return self.implementation in PACKAGE

    def context(self) -> AbstractContextManager[None]:
        """Whether fast paths are taken."""
        return fast_paths(self.implementation != "exact")


class Case(NamedTuple):
    """What all candidates of one table share."""

    network: str
    """A size of CapsNet, or the name of another network."""
    batch: int
    """Images in a step, over all processes."""
    dtype: str
    """Precision."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    implementations: tuple[str, ...] = ("naive", "ours")
    """"naive", "einsum", "channels_last", "exact", "ours" and, on a GPU, "graphs"."""
    gradients: tuple[str, ...] = ("full", "last")
    """Through which rounds of dynamic routing gradients go."""
    routings: tuple[str, ...] = ("dynamic",)
    """Routings; the naive implementations have only the dynamic one."""
    networks: tuple[str, ...] = ("paper",)
    """"paper", "small" or names of other networks, which only we have."""
    batches: tuple[int, ...] = (128,)
    """Images in a step, over all processes; 128 is the authors' value."""
    dtypes: tuple[str, ...] = ("float32",)
    """Precisions."""
    device: str = "auto"
    """"cpu", "cuda" or "auto"."""
    processes: int = 1
    """How many train together."""
    threads: int = 0
    """Threads of each process on the CPU; 0 leaves them as PyTorch has them."""
    rounds: int = 15
    """How often each candidate is timed."""
    fused_naive: bool = False
    """Give the naive implementations our fused Adam too, instead of PyTorch's default."""
    compile: bool = False
    """Measure each candidate also through torch.compile."""
    scaling: bool = True
    """Measure how the class capsules grow with the number of capsules and of classes."""
    quick: bool = False
    """Few and small sizes for what grows."""

    def check(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            UserError: an unknown name, a number that is too small, or a device that is not there.
        """
        known = {"implementations": IMPLEMENTATIONS, "gradients": get_args(Gradient), "dtypes": DTYPES}
        known |= {"routings": tuple(routings), "networks": (*SIZES, *models)}
        for key, names in known.items():
            given = cast(tuple[str, ...], getattr(self, key))
            for name in given:
                if name not in names:
                    raise UserError(f"Unknown {key[:-1]} {name!r}.{did_you_mean(name, names)}")
            if not given:
                raise UserError(f"{key}: at least one is needed. Known: {', '.join(names)}.")
        if self.device not in ("auto", "cpu", "cuda") or (self.device == "cuda" and not torch.cuda.is_available()):
            raise UserError(f"device={self.device!r}: must be auto, cpu, or cuda where there is one.")
        for key, least in {"rounds": 2, "processes": 1, "threads": 0}.items():
            if getattr(self, key) < least:
                raise UserError(f"--{key} {getattr(self, key)}: must be at least {least}.")
        if self.where == "cuda" and self.processes > torch.cuda.device_count():
            raise UserError(f"processes={self.processes}: there are only {torch.cuda.device_count()} GPUs.")
        if "graphs" in self.implementations and self.where == "cpu":
            raise UserError("implementations: 'graphs' replays CUDA graphs and needs a GPU.")
        for network in self.networks:
            if not self.candidates(network):
                raise UserError(f"{network}: no other implementations than 'exact' and 'ours' have it, or its routing.")
        for batch in self.batches:
            if batch < self.processes or batch % self.processes:
                raise UserError(f"A batch of {batch} does not divide among {self.processes} processes.")

    @property
    def where(self) -> str:
        """The kind of device."""
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device

    @property
    def single(self) -> bool:
        """Whether one thread does all the work of a step."""
        return self.threads == 1 and self.processes == 1

    def cases(self) -> list[Case]:
        """All tables."""
        return list(itertools.starmap(Case, itertools.product(self.networks, self.batches, self.dtypes)))

    def candidates(self, network: str) -> list[Candidate]:
        """The rows of a table, in the order in which they take turns."""
        if network not in SIZES:
            found = [Candidate(each, "", "") for each in self.implementations if each in PACKAGE]
        else:
            found = [
                Candidate(implementation, routing, gradient)
                for routing in self.routings
                for gradient in (self.gradients if routing == "dynamic" else ("",))
                for implementation in self.implementations
                if routing == "dynamic" or implementation in PACKAGE
            ]
        return found + [candidate._replace(compiled=True) for candidate in found if self.compile]

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Options":
        """Options out of JSON, whose lists become tuples."""
        lists = {key: tuple(cast(list[Any], value)) for key, value in data.items() if isinstance(value, list)}
        values: dict[str, Any] = data | lists
        return Options(**values)


def reference(candidate: Candidate, among: Sequence[Candidate]) -> Candidate | None:
    """What a candidate is compared with: "naive", or "exact" where that is nearer; None where neither is measured."""
    plain = [other for other in among if other.implementation in ("naive", "exact") and not other.compiled]
    same = candidate.routing, candidate.gradient
    return min(
        plain,
        key=lambda other: (other.routing != same[0], other.gradient != same[1], other.implementation != "naive"),
        default=None,
    )
