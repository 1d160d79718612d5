"""Laws for what a routing does: who gets a share, what order means, who wins."""

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.errors import UserError
from capsnet_dist.geometry import Windows
from capsnet_dist.testing.law import Law, Skipped, require, require_same
from capsnet_dist.testing.routing_subject import RoutingSubject, Sizes, Watched

PLANTED = Sizes(parts=48, part_dim=1, wholes=4, dim=8)  # parts enough to outweigh any prior
WINNER = 1  # the whole that all parts of the planted example agree on


def couplings_are_shares(subject: RoutingSubject) -> None:
    """Each part that is there divides itself over the wholes, in shares that are not negative and sum to one."""
    inputs = subject.inputs()
    votes = Watched(inputs["poses"], inputs["weight"])
    subject.routing()(votes, torch.ones_like(inputs["activations"]))
    if not votes.combined:
        raise Skipped("it never calls votes.combine, so its couplings are not seen")
    coupling = votes.combined[-1]  # of the calls before, some may only add up votes
    least = coupling.min().item()
    require(least >= 0, f"in the last votes.combine a share is {least:.3g}")
    total = coupling.sum(dim=-1)
    sample, part = divmod(int((total - 1).abs().argmax()), total.shape[1])
    seen = f"in the last votes.combine part {part} of sample {sample} gives out {total[sample, part]:.4g} in all"
    require((total - 1).abs().max().item() < 1e-6, seen)


def wholes_compete_across_positions(subject: RoutingSubject) -> None:
    """Where windows overlap, a part divides itself over the wholes of all of them: softmax is votes.compete's work."""
    windows = Windows(Grid(2, 3, 3, 3), kernel=2, stride=1, padding=0)
    sizes = Sizes(parts=8)
    below = Capsules(torch.randn(2, 18, 3).double(), torch.ones(2, 18).double())
    parts = windows.cut(below)
    votes = Watched(parts.poses, subject.inputs(sizes=sizes)["weight"], competition=windows.compete)
    subject.routing(sizes)(votes, parts.activations)
    coupling = votes.last_coupling()
    if coupling is None:
        require(False, "it calls neither votes.compete nor votes.combine")
        return
    given = rearrange(coupling.sum(dim=-1), "(b o) i -> b (o i)", o=windows.num_windows)
    total = torch.zeros(2, 18, dtype=given.dtype).index_add(1, rearrange(windows.index, "o i -> (o i)"), given)
    require((total - 1).abs().max().item() < 1e-6, f"a part in four windows gives out up to {total.max():.4g} in all")


def permuting_wholes_permutes_the_output(subject: RoutingSubject) -> None:
    """No whole is special: in another order, with their parameters, they give the same in that order."""
    sizes, order = Sizes(), torch.tensor([2, 0, 3, 1, 4])
    probe, inputs = subject.probe(), subject.inputs()
    straight = [x[:, order] for x in probe(*inputs.values())]
    _permute_parameters(subject, probe, sizes._replace(wholes=sizes.wholes + 6), order)
    permuted = probe(*(inputs | {"weight": inputs["weight"][:, order]}).values())
    require_same(permuted, straight, "wholes in another order")


def permuting_parts_changes_nothing(subject: RoutingSubject) -> None:
    """Parts are a set: in another order, with their parameters, they make the same wholes."""
    sizes, order = Sizes(), torch.tensor([2, 0, 6, 3, 1, 5, 4])
    probe, inputs = subject.probe(), subject.inputs()
    straight = probe(*inputs.values())
    _permute_parameters(subject, probe, sizes._replace(parts=sizes.parts + 6), order)
    permuted = {key: x[order] if key == "weight" else x[:, order] for key, x in inputs.items()}
    require_same(probe(*permuted.values()), straight, "parts in another order")


def _permute_parameters(subject: RoutingSubject, probe: nn.Module, larger: Sizes, order: Tensor) -> None:
    """Reorder along each axis that grows by six when there are six more of what is permuted."""
    grown = dict(_tensors(subject.probe(sizes=larger)))
    for name, tensor in _tensors(probe):
        for axis, (size, more) in enumerate(zip(tensor.shape, grown[name].shape, strict=True)):
            if size == more:
                continue
            if (size, more) != (len(order), len(order) + 6):
                raise Skipped(f"an axis of {name.partition('.')[2]} mixes what is permuted with something else")
            tensor.data.copy_(tensor.data.index_select(axis, order))


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def planted() -> tuple[Watched, Tensor]:
    """Votes of length one, all alike for one whole and in all directions for the others."""
    parts, _, wholes, dim = PLANTED
    votes = torch.randn(parts, wholes, dim, 1).double()
    votes[:, WINNER] = votes[0, WINNER] + 0.1 * votes[:, WINNER]
    votes = votes / votes.norm(dim=2, keepdim=True)
    poses = repeat(torch.tensor([0.8, 1.0]).double(), "b -> b i 1", i=parts)
    return Watched(poses, votes), torch.ones(2, parts).double()


def agreement_gets_the_larger_share(subject: RoutingSubject) -> None:
    """The whole that parts agree on gets more of them than the average, in training and after: that is routing."""
    for training in (False, True):
        votes, activations = planted()
        subject.routing(PLANTED).train(training)(votes, activations)
        coupling = votes.last_coupling()
        if coupling is None:
            raise Skipped("it calls neither votes.combine nor votes.compete, so its couplings are not seen")
        share, even = coupling[..., WINNER].mean().item(), coupling.mean().item()
        mode = "training" if training else "evaluation"
        seen = f"in {mode} it gets {share:.6g} of each part, and a whole on average {even:.6g}"
        require(share > even * (1 + 1e-6), seen)


def agreement_makes_the_longest_whole(subject: RoutingSubject) -> None:
    """The whole that parts agree on has the largest activation: it is the most likely to be there."""
    routing = subject.routing(PLANTED)
    if not routing.makes_activations:
        raise Skipped("its activations say nothing")
    activations = routing(*planted()).activations.mean(dim=0)
    others = torch.cat([activations[:WINNER], activations[WINNER + 1 :]])
    seen = f"its activation is {activations[WINNER]:.4g}, and those of the others are {_list(others)}"
    require(activations[WINNER] > others.max(), seen)


def _list(numbers: Tensor) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers.tolist())


def iterations_count(subject: RoutingSubject) -> None:
    """One iteration is even shares, each further one changes the result, and fewer than one is refused."""
    if "iterations" not in subject.options():
        raise Skipped("it has no option 'iterations'")
    require(_refuses(lambda: subject.routing(iterations=0)), "iterations=0 is accepted")
    votes, activations = planted()
    results = [subject.routing(PLANTED, iterations=count)(votes, activations).poses for count in (1, 2, 3)]
    for count in (1, 2):
        difference = (results[count] - results[count - 1]).abs().max().item()
        require(difference > 1e-9, f"{count} and {count + 1} iterations differ by {difference:.3g} only")
    votes, activations = planted()
    subject.routing(PLANTED, iterations=1)(votes, activations)
    coupling = votes.last_coupling()
    if coupling is not None:
        spread = (coupling.amax(dim=-1) - coupling.amin(dim=-1)).max().item()
        require(spread < 1e-6, f"with iterations=1 the shares of a part already differ by {spread:.3g}")


def _refuses(build: Callable[[], object]) -> bool:
    try:
        build()
    except UserError:
        return True
    return False


LAWS = (
    Law(couplings_are_shares),
    Law(wholes_compete_across_positions, soft=True),
    Law(permuting_wholes_permutes_the_output),
    Law(permuting_parts_changes_nothing),
    Law(agreement_gets_the_larger_share),
    Law(agreement_makes_the_longest_whole),
    Law(iterations_count),
)
