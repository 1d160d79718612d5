"""What is measured: a network with its loss and optimizer, its step and its stages."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from capsnet_dist.bench.measure import Clock
from capsnet_dist.bench.naive import Gradient, NaiveCapsNet, Votes, naive_loss
from capsnet_dist.bench.options import CLASSES, IMAGE, SIZES, Candidate, Case
from capsnet_dist.plugins import Output, losses, models, optimizers, routings

STAGES = {"conv": "stem", "class_capsules": "routing"}
"""What the parts of a network are called in tables, where not by their own name."""

LR = 1e-3  # the authors' value


class Subject:
    """A candidate, ready to train on one batch of random images.

    Args:
        candidate: What to build.
        case: Its size.
        device: Where.
        fused: Whether a naive candidate gets our fused optimizer, too.
        processes: How many share the batch, joined already.
    """

    def __init__(self, candidate: Candidate, case: Case, device: torch.device, *, fused: bool, processes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        dtype = torch.float64 if case.dtype == "float64" else torch.float32
        images = torch.rand(case.batch // processes, *IMAGE, generator=generator).to(device, dtype)
        labels = torch.randint(CLASSES, (len(images),), generator=generator).to(device)
        self.images, self.labels, self.half = images, labels, case.dtype == "bfloat16"
        self.model = _build(candidate, case.network).to(device, dtype)
        if candidate.implementation == "channels_last":
            self.images = images.to(memory_format=torch.channels_last)
            self.model.to(memory_format=torch.channels_last)
        self.candidate, parameters = candidate, list(self.model.parameters())
        self._graphs: dict[str, torch.cuda.CUDAGraph] = {}
        with candidate.context():
            self.optimizer = (
                optimizers("adam").build(parameters, LR)
                if candidate.of_package or fused
                else torch.optim.Adam(parameters, LR)
            )
        self.criteria = [losses("margin").build(), losses("reconstruction").build()]
        replica: Any = torch.compile(self.model) if candidate.compiled else self.model
        self.replica = nn.parallel.DistributedDataParallel(replica) if processes > 1 else replica

    def train(self, mark: Callable[[str], object] | None = None) -> None:
        """One step of training; `mark` hears of each stage that is done."""
        if self.candidate.implementation == "graphs" and mark is None:
            self._replay("train", self.train_eagerly)
        else:
            self.train_eagerly(mark or (lambda stage: None))

    def train_eagerly(self, mark: Callable[[str], object] = lambda stage: None) -> None:
        """The same, not as a graph."""
        with self.candidate.context():
            with self._precision():
                output = self.replica(self.images, self.labels)
                mark("forward")
                loss = self.loss(output)
            mark("loss")
            loss.backward()
            mark("backward")
            self.optimizer.step()
            self.optimizer.zero_grad()
            mark("optimizer")

    def infer(self) -> None:
        """One step of inference, reconstruction included."""
        if self.candidate.implementation == "graphs":
            self._replay("infer", self.infer_eagerly)
        else:
            self.infer_eagerly()

    @torch.no_grad()
    def infer_eagerly(self) -> Output:
        """The same, not as a graph."""
        with self.candidate.context(), self._precision():
            return self.replica(self.images)

    def loss(self, output: Output) -> Tensor:
        """What the step minimises."""
        if not self.candidate.of_package:
            return naive_loss(output, self.images, self.labels)
        wanted = self.criteria if output.reconstruction is not None else self.criteria[:1]
        terms = [term for c in wanted for term in c(output, self.images, self.labels, 0.0).values()]
        return torch.stack(terms).sum()

    def _replay(self, kind: str, action: Callable[[], object]) -> None:
        """The action as a CUDA graph, captured after it was done a few times."""
        if kind not in self._graphs:
            here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
            beside.wait_stream(here)
            with torch.cuda.stream(beside):
                for _ in range(3):
                    action()
            here.wait_stream(beside)
            for group in self.optimizer.param_groups:
                group["capturable"] = True
            self._graphs[kind] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graphs[kind]):
                action()
        self._graphs[kind].replay()

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.images.device.type, torch.bfloat16) if self.half else nullcontext()


def _build(candidate: Candidate, network: str) -> nn.Module:
    """The network; all candidates of a size have the same weights."""
    torch.manual_seed(0)
    if network not in SIZES:
        return models(network).build(IMAGE, CLASSES)
    size = SIZES[network]
    options = {"gradient": candidate.gradient} if candidate.gradient else {}
    ours = models("capsnet", routing=routings(candidate.routing, **options), **size).build(IMAGE, CLASSES)
    if candidate.of_package:
        return ours
    gradient = cast(Gradient, candidate.gradient)
    naive = NaiveCapsNet(IMAGE, CLASSES, **size, gradient=gradient, votes=_votes(candidate.implementation))
    naive.load_state_dict(ours.state_dict())
    return naive


def _votes(implementation: str) -> Votes:
    return "einsum" if implementation in ("einsum", "channels_last") else "matmul"


class Stages:
    """Where the time of a step goes, and how many numbers go from stage to stage.

    Args:
        subject: Whose steps.
        clock: Time on its device.
    """

    def __init__(self, subject: Subject, clock: Clock) -> None:
        self.subject, self.clock, self.numbers = subject, clock, subject.images.numel()
        self._marks: list[tuple[str, Any]] = []

    def steps(self, count: int) -> list[dict[str, float]]:
        """Seconds of each stage of some steps; "forward" is what lies between the parts of the network."""
        children = list(self.subject.model.named_children())
        hooks = [child.register_forward_pre_hook(lambda *_: self._mark("forward")) for _, child in children]
        hooks += [child.register_forward_hook(self._after(STAGES.get(name, name))) for name, child in children]
        found = [self._step() for _ in range(count)]
        for hook in hooks:
            hook.remove()
        return found

    def _step(self) -> dict[str, float]:
        self.clock.wait()
        self._marks, self.numbers = [("", self.clock.now())], self.subject.images.numel()
        self.subject.train(self._mark)
        self.clock.wait()
        found: dict[str, float] = {}
        for (_, start), (stage, end) in zip(self._marks[:-1], self._marks[1:], strict=True):
            found[stage] = found.get(stage, 0) + self.clock.seconds(start, end)
        return found

    def _mark(self, stage: str) -> None:
        self._marks.append((stage, self.clock.now()))

    def _after(self, stage: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._mark(stage)
            self.numbers += sum(tensor.numel() for tensor in _tensors(output))

        return hook


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple):
        for item in cast(tuple[Any, ...], output):
            yield from _tensors(item)
