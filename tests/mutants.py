"""Plugins with one mistake each, as they are made: what the checker is checked with.

Each list holds the plugin, the name of the law that must catch it, and words that the law must say.
"""

import random

import numpy as np
import torch
from torch.nn.functional import one_hot

from capsnet_dist import Capsules, Layer, Routing, UserError, Votes, lengths, squash
from capsnet_dist.capsules import Grid
from capsnet_dist.layer import DenseCapsules


class Honest(Routing):
    """Dynamic routing, in steps that a mutant can get wrong."""

    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3):
        super().__init__(parts, part_dim, wholes, dim)
        self.refuse(iterations)
        self.iterations = iterations

    def refuse(self, iterations):
        if iterations < 1:
            raise UserError(f"iterations={iterations} must be at least 1.")

    def forward(self, votes, activations):
        logits = self.start(votes, activations)
        poses = self.squash(votes.combine(self.couple(votes, logits)))
        for _ in range(self.rounds()):
            logits = self.grow(logits, votes, poses)
            poses = self.squash(votes.combine(self.couple(votes, logits)))
        return self.finish(poses)

    def start(self, votes, activations):
        return torch.zeros_like(activations)[..., None].expand(-1, -1, self.wholes)

    def couple(self, votes, logits):
        return votes.compete(logits)

    def squash(self, total):
        return squash(total)

    def rounds(self):
        return self.iterations - 1

    def grow(self, logits, votes, poses):
        return logits + votes.agreement(poses)

    def finish(self, poses):
        return Capsules(poses, lengths(poses))


class SoftmaxOverParts(Honest):
    def couple(self, votes, logits):
        return logits.softmax(dim=1)


class SharesNotNormalised(Honest):
    def couple(self, votes, logits):
        return votes.compete(logits) * 1.1


class SharesBelowZero(Honest):
    def couple(self, votes, logits):
        coupling = logits.tanh()
        return coupling + (1 - coupling.sum(dim=-1, keepdim=True)) / self.wholes


class SoftmaxOfItsOwn(Honest):
    def couple(self, votes, logits):
        return logits.softmax(dim=-1)


class Squeezed(Honest):
    def finish(self, poses):
        return Capsules(poses.squeeze(), lengths(poses).squeeze())


class AveragedOverTheBatch(Honest):
    def grow(self, logits, votes, poses):
        return logits + votes.agreement(poses).mean(dim=0)


class NormalisedOverTheBatch(Honest):
    def squash(self, total):
        return squash(total / total.std(dim=(0, 1, 2)))


class ZeroByZero(Honest):
    def squash(self, total):
        length = total.norm(dim=-1, keepdim=True)
        return length**2 / (1 + length**2) * total / length


class RootOfZero(Honest):
    def squash(self, total):
        squared = total.square().sum(dim=-1, keepdim=True)
        return total * squared.sqrt() / (1 + squared)


class ExponentialTooLarge(Honest):
    def couple(self, votes, logits):
        return logits.exp() / logits.exp().sum(dim=-1, keepdim=True)


class StateOutsideTheStateDict(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)
        self.temperature = 1 + torch.rand(())

    def grow(self, logits, votes, poses):
        return logits + votes.agreement(poses) / self.temperature


class AverageOutsideTheStateDict(Honest):
    usual = 0.0

    def grow(self, logits, votes, poses):
        if not self.training:
            return super().grow(logits, votes, poses)
        self.usual = 0.9 * self.usual + poses.detach().abs().mean()
        return super().grow(logits, votes, poses) / self.usual


class SignSlip(Honest):
    def grow(self, logits, votes, poses):
        return logits - votes.agreement(poses)


class NoRouting(Honest):
    def grow(self, logits, votes, poses):
        return logits + 0 * votes.agreement(poses)


class RoutesOnlyInTraining(Honest):
    def rounds(self):
        return self.iterations - 1 if self.training else 0


class RoutesOnlyInEvaluation(Honest):
    def rounds(self):
        return 0 if self.training else self.iterations - 1


class ShortestWins(Honest):
    def finish(self, poses):
        return Capsules(poses, 1 - lengths(poses))


class WritesToItsInput(Honest):
    def start(self, votes, activations):
        activations /= activations.sum(dim=1, keepdim=True)
        return super().start(votes, activations)


class WritesToItsInputInTraining(Honest):
    def start(self, votes, activations):
        if self.training:
            votes.poses.mul_(0.9)
        return super().start(votes, activations)


class DetachedResult(Honest):
    def finish(self, poses):
        return super().finish(poses.detach())


class DetachedTransformation(Honest):
    def start(self, votes, activations):
        votes.weight = votes.weight.detach()
        return super().start(votes, activations)


class DetachedAgreement(Honest):
    def grow(self, logits, votes, poses):
        return logits + votes.agreement(poses.detach())


class OneRoundTooMany(Honest):
    def rounds(self):
        return self.iterations


class OneRoundTooFew(Honest):
    def rounds(self):
        return self.iterations - 2


class NoRoundRefused(Honest):
    def refuse(self, iterations):
        pass


class AlwaysFloat32(Honest):
    def finish(self, poses):
        return super().finish(poses.float())


class AlwaysOnTheProcessor(Honest):
    def start(self, votes, activations):
        return torch.zeros(*activations.shape, self.wholes, dtype=activations.dtype)


class NoiseFromTorch(Honest):
    def grow(self, logits, votes, poses):
        return super().grow(logits, votes, poses) + 1e-9 * torch.randn_like(logits)


class NoiseFromNumPy(Honest):
    def grow(self, logits, votes, poses):
        return super().grow(logits, votes, poses) + 1e-9 * np.random.randn()


class BatchOfThree(Honest):
    def start(self, votes, activations):
        return activations.new_zeros(3, self.parts, self.wholes)


class LengthsNotSquashed(Honest):
    def squash(self, total):
        return total


class ActivationsThatSayNothing(Honest):
    makes_activations = False


class ParameterNeverUsed(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)
        self.bias = torch.nn.Parameter(torch.zeros(wholes, dim))


class LogitsKeptBetweenCalls(Honest):
    kept = 0.0

    def start(self, votes, activations):
        return super().start(votes, activations) + self.kept

    def grow(self, logits, votes, poses):
        self.kept = super().grow(logits, votes, poses).mean(dim=(0, 1)).detach()
        return super().grow(logits, votes, poses)


class CountsInEvaluation(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)
        self.register_buffer("calls", torch.zeros(()))

    def finish(self, poses):
        self.calls += 1
        return super().finish(poses)


class PoseTooLong(Honest):
    def finish(self, poses):
        return Capsules(torch.cat([poses, poses[..., :1]], dim=-1), lengths(poses))


class PlainTuple(Honest):
    def finish(self, poses):
        return poses, lengths(poses)


class VotesOfItsOwn(Honest):
    def start(self, votes, activations):
        predictions = torch.einsum("ijdp,bip->bijd", votes.weight, votes.poses)
        return 0 * predictions.sum(dim=-1)


class HalfPrecision(Honest):
    def squash(self, total):
        return squash(total.bfloat16().to(total.dtype))


class TurnsAutocastOn(Honest):
    def grow(self, logits, votes, poses):
        with torch.autocast("cpu", torch.bfloat16):
            return logits + votes.agreement(poses)


class TurnsFloat16On(Honest):
    def grow(self, logits, votes, poses):
        with torch.autocast("cpu", torch.float16):
            return logits + votes.agreement(poses)


class FirstWholeFirst(Honest):
    def grow(self, logits, votes, poses):
        return super().grow(logits, votes, poses) + one_hot(torch.tensor(0), self.wholes)


class FirstPartFirst(Honest):
    def grow(self, logits, votes, poses):
        return super().grow(logits, votes, poses) * torch.linspace(0.5, 1, self.parts)[:, None]


class StopsEarly(Honest):
    def finish(self, poses):
        return super().finish(poses if poses.norm().item() > 1e-3 else 0 * poses)


class OptionWithoutType(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations=3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)


class OptionOfAnotherType(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3, gain: float = None):  # noqa: RUF013
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)


class OptionThatIsPositional(Honest):
    def __init__(self, parts, part_dim, wholes, dim, iterations: int = 3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)


class OptionThatIsNoData(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3, gain: torch.Tensor = torch.ones(2)):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)


class SeedsTorch(Honest):
    def start(self, votes, activations):
        torch.manual_seed(0)
        return super().start(votes, activations)


class SeedsNumPyInTraining(Honest):
    def start(self, votes, activations):
        if self.training:
            np.random.seed(0)
        return super().start(votes, activations)


class SeedsPythonWhenBuilt(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)
        random.seed(0)


class SeedsFromTheClock(Honest):
    def start(self, votes, activations):
        if self.training:
            torch.seed()
        return super().start(votes, activations)


class GivesBackAnOldState(Honest):
    def start(self, votes, activations):
        if self.training:
            torch.set_rng_state(torch.Generator().get_state())
        return super().start(votes, activations)


class NoiseFromPython(Honest):
    def grow(self, logits, votes, poses):
        return super().grow(logits, votes, poses) + 1e-9 * random.random()


class ViewsItsInputs(Honest):
    def start(self, votes, activations):
        return super().start(votes, activations.view(-1).view(activations.shape))


class AsItLiesInMemory(Honest):
    def start(self, votes, activations):
        votes.poses = votes.poses.as_strided(votes.poses.shape, torch.empty(votes.poses.shape).stride())
        return super().start(votes, activations)


class _ViewsItsGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, poses):
        return poses.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient.view(-1).view(gradient.shape)


class ViewsItsGradient(Honest):
    def finish(self, poses):
        found = super().finish(poses)
        return found._replace(poses=_ViewsItsGradient.apply(found.poses))


class GathersStatistics(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)
        self.register_buffer("usual", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def finish(self, poses):
        if self.training:
            self.steps += 1
            self.usual.lerp_(poses.detach().abs().mean().to(self.usual), 0.1)
        return super().finish(poses)


class ScaledByTheBatchInTraining(Honest):
    def squash(self, total):
        return squash(total / (1 + total.square().mean()) if self.training else total)


ROUTINGS = [
    (SoftmaxOverParts, "couplings_are_shares", "gives out"),
    (SharesNotNormalised, "couplings_are_shares", "gives out 1.1 in all"),
    (SharesBelowZero, "couplings_are_shares", "a share is -"),
    (SoftmaxOfItsOwn, "wholes_compete_across_positions", "gives out up to 4 in all"),
    (Squeezed, "shapes_fit", ""),
    (AveragedOverTheBatch, "samples_are_independent", "sample 0 alone"),
    (NormalisedOverTheBatch, "samples_are_independent", "sample 0 alone"),
    (ZeroByZero, "values_stay_finite", "poses of zero"),
    (RootOfZero, "gradients_stay_finite", "poses of zero"),
    (ExponentialTooLarge, "values_stay_finite", "poses of 1e4"),
    (StateOutsideTheStateDict, "weights_rebuild_the_function", "built anew and loaded, in evaluation"),
    (AverageOutsideTheStateDict, "weights_rebuild_the_function", "built anew and loaded, in training"),
    (SignSlip, "agreement_gets_the_larger_share", "in evaluation it gets 0.06"),
    (NoRouting, "agreement_gets_the_larger_share", "0.25 of each part"),
    (NoRouting, "iterations_count", "1 and 2 iterations differ by 0"),
    (RoutesOnlyInTraining, "agreement_gets_the_larger_share", "in evaluation"),
    (RoutesOnlyInEvaluation, "agreement_gets_the_larger_share", "in training"),
    (ShortestWins, "agreement_makes_the_longest_whole", "those of the others"),
    (WritesToItsInput, "inputs_stay_untouched", "activations after a call"),
    (WritesToItsInputInTraining, "inputs_stay_untouched", "poses after a call"),
    (DetachedResult, "gradients_reach_inputs", "no output carries a gradient"),
    (DetachedTransformation, "gradients_reach_inputs", "the gradient of weight is absent"),
    (DetachedAgreement, "gradients_are_exact", "Jacobian mismatch"),
    (OneRoundTooMany, "iterations_count", "already differ"),
    (OneRoundTooFew, "iterations_count", "1 and 2 iterations differ by 0"),
    (NoRoundRefused, "iterations_count", "iterations=0 is accepted"),
    (AlwaysFloat32, "dtype_follows_the_input", "torch.float64 in, torch.float32 out"),
    (AlwaysOnTheProcessor, "device_follows_the_input", "device"),
    (NoiseFromTorch, "evaluation_draws_nothing", "of torch moved"),
    (NoiseFromTorch, "evaluation_repeats", "a second call"),
    (NoiseFromNumPy, "evaluation_draws_nothing", "of NumPy moved"),
    (NoiseFromPython, "evaluation_repeats", "a second call"),
    (SeedsTorch, "process_stays_untouched", "a step of training seeds the random state of torch"),
    (SeedsNumPyInTraining, "process_stays_untouched", "a step of training seeds the random state of NumPy"),
    (SeedsPythonWhenBuilt, "process_stays_untouched", "its construction seeds the random state of Python"),
    (SeedsFromTheClock, "process_stays_untouched", "a step of training seeds the random state of torch"),
    (GivesBackAnOldState, "process_stays_untouched", "a step of training seeds the random state of torch"),
    (ViewsItsInputs, "memory_layout_changes_nothing", "raised RuntimeError: view size is not compatible"),
    (AsItLiesInMemory, "memory_layout_changes_nothing", "transposed inputs"),
    (ViewsItsGradient, "memory_layout_changes_nothing", "raised RuntimeError: view size is not compatible"),
    (GathersStatistics, "batches_leave_no_statistics", "depend on the batch trained on: usual"),
    (ScaledByTheBatchInTraining, "training_keeps_samples_apart", "sample 0 among others"),
    (BatchOfThree, "shapes_fit", ""),
    (LengthsNotSquashed, "activations_are_in_range", "poses of 1 give activations from"),
    (ActivationsThatSayNothing, "activations_are_in_range", "makes_activations is False"),
    (ParameterNeverUsed, "gradients_reach_parameters", "bias (absent)"),
    (LogitsKeptBetweenCalls, "evaluation_repeats", "a second call"),
    (CountsInEvaluation, "state_stays_untouched", "calls after a call"),
    (PoseTooLong, "shapes_fit", "instead of (3, 5, 4)"),
    (PlainTuple, "shapes_fit", "it gives tuple and not Capsules"),
    (VotesOfItsOwn, "shapes_fit", "raised"),
    (HalfPrecision, "gradients_are_exact", "Jacobian mismatch"),
    (TurnsAutocastOn, "autocast_keeps_float32", "against float64"),
    (TurnsFloat16On, "extremes_stay_finite_under_autocast", "poses of 1e4"),
    (FirstWholeFirst, "permuting_wholes_permutes_the_output", "in another order"),
    (FirstPartFirst, "permuting_parts_changes_nothing", "in another order"),
    (StopsEarly, "exports_with_any_batch", "raised"),
    (OptionWithoutType, "options_are_plain_data", "option 'iterations' needs a type"),
    (OptionOfAnotherType, "options_are_plain_data", "option 'gain' must be float"),
    (OptionThatIsNoData, "options_are_plain_data", "option 'gain' has the type torch.Tensor"),
    (OptionThatIsPositional, "options_are_plain_data", "Make `iterations` keyword-only"),
]


class HonestLayer(DenseCapsules):
    """Dense capsules with their defaults."""

    def __init__(self, inputs: Grid, *, wholes: int = 4):
        super().__init__(inputs, wholes=wholes, dim=6)


class WrongGrid(HonestLayer):
    def __init__(self, inputs: Grid, *, wholes: int = 4):
        super().__init__(inputs, wholes=wholes)
        self.outputs = self.outputs._replace(dim=16)


class ForgetsItsInputs(HonestLayer):
    def __init__(self, inputs: Grid, *, wholes: int = 4):
        super().__init__(inputs, wholes=wholes)
        self.inputs = self.outputs


class TakesAnything(HonestLayer):
    def forward(self, capsules):
        count, dim = self.inputs.num_capsules, self.inputs.dim
        return super().forward(Capsules(capsules.poses[:, :count, :dim], capsules.activations[:, :count]))


class RoutesUnderAutocast(HonestLayer):
    def forward(self, capsules):
        return self.routing(Votes(capsules.poses, self.weight), capsules.activations)


class RoutesInHalfPrecision(HonestLayer):
    def forward(self, capsules):
        with torch.autocast("cpu", enabled=False):
            return self.routing(Votes(capsules.poses, self.weight.to(capsules.poses.dtype)), capsules.activations)


class GivesHalfPrecision(HonestLayer):
    def forward(self, capsules):
        return Capsules(*(x.to(capsules.poses.dtype) for x in super().forward(capsules)))


class AlwaysDouble(HonestLayer):
    def forward(self, capsules):
        return Capsules(*(x.double() for x in super().forward(capsules)))


class LongCapsules(HonestLayer):
    def forward(self, capsules):
        wholes = super().forward(capsules)
        return Capsules(3 * wholes.poses, 3 * wholes.activations)


class UnsafeDivision(HonestLayer):
    def forward(self, capsules):
        wholes = super().forward(capsules)
        return Capsules(wholes.poses / wholes.poses.norm(dim=-1, keepdim=True), wholes.activations)


class CentredOverTheBatch(HonestLayer):
    def forward(self, capsules):
        wholes = super().forward(capsules)
        return Capsules(wholes.poses - wholes.poses.mean(dim=0), wholes.activations)


class FrozenWeight(HonestLayer):
    def forward(self, capsules):
        frozen = Layer.__new__(type(self))
        frozen.__dict__ = self.__dict__ | {"_parameters": {"weight": self.weight.detach()}}
        return DenseCapsules.forward(frozen, capsules)


class LayerSeeds(HonestLayer):
    def forward(self, capsules):
        torch.manual_seed(0)
        return super().forward(capsules)


class LayerViews(HonestLayer):
    def forward(self, capsules):
        poses = capsules.poses.view(-1, self.inputs.dim).view(capsules.poses.shape)
        return super().forward(capsules._replace(poses=poses))


class LayerGathersStatistics(HonestLayer):
    def __init__(self, inputs: Grid, *, wholes: int = 4):
        super().__init__(inputs, wholes=wholes)
        self.register_buffer("usual", torch.zeros(()), persistent=False)

    def forward(self, capsules):
        if self.training:
            self.usual.copy_(capsules.poses.detach().mean())
        return super().forward(capsules)


class LayerNormalisesInTraining(HonestLayer):
    def forward(self, capsules):
        poses = capsules.poses
        return super().forward(capsules._replace(poses=poses - poses.mean(dim=0) if self.training else poses))


LAYERS = [
    (WrongGrid, "grid_is_what_comes_out", "poses are (3, 4, 6)"),
    (ForgetsItsInputs, "grid_is_what_comes_out", "says that its inputs are"),
    (TakesAnything, "wrong_capsules_are_refused", "it takes 40 of size 17"),
    (RoutesUnderAutocast, "autocast_keeps_float32", "its routing runs under autocast"),
    (RoutesInHalfPrecision, "autocast_keeps_float32", "its routing gets poses in torch.bfloat16"),
    (GivesHalfPrecision, "autocast_keeps_float32", "the result is torch.bfloat16"),
    (AlwaysDouble, "dtype_follows_the_input", "torch.float32 in, torch.float64 out"),
    (LongCapsules, "activations_are_in_range", "activations from"),
    (UnsafeDivision, "values_and_gradients_stay_finite", "poses times 0"),
    (CentredOverTheBatch, "samples_are_independent", "sample 0 alone"),
    (LayerSeeds, "process_stays_untouched", "seeds the random state of torch"),
    (LayerViews, "memory_layout_changes_nothing", "raised RuntimeError: view size is not compatible"),
    (LayerGathersStatistics, "batches_leave_no_statistics", "depend on the batch trained on: usual"),
    (LayerNormalisesInTraining, "training_keeps_samples_apart", "sample 0 among others"),
    (FrozenWeight, "gradients_reach_parameters", "weight (absent)"),
]


class HonestLoss:
    """Squared distance of the scores from one for the true class, and zero for the others."""

    def __init__(self, *, weight: float = 1.0):
        self.weight = weight

    def __call__(self, output, images, labels, progress):
        return {"distance": self.weight * self.mean(self.each(output, images, labels, progress))}

    def each(self, output, images, labels, progress):
        return (output.scores - one_hot(labels, output.scores.shape[1])).square().sum(dim=-1)

    def mean(self, each):
        return each.mean()


class SumOverTheBatch(HonestLoss):
    def mean(self, each):
        return each.sum()


class OneForEachSample(HonestLoss):
    def mean(self, each):
        return each


class NoNames(HonestLoss):
    def __call__(self, output, images, labels, progress):
        return self.each(output, images, labels, progress).mean()


class LossInFloat32(HonestLoss):
    def mean(self, each):
        return each.mean().float()


class LogarithmOfZero(HonestLoss):
    def each(self, output, images, labels, progress):
        return -(output.scores * one_hot(labels, output.scores.shape[1])).sum(dim=-1).log()


class RewardsTheWrongClass(HonestLoss):
    def mean(self, each):
        return -each.mean()


class DetachedScores(HonestLoss):
    def each(self, output, images, labels, progress):
        return super().each(output._replace(scores=output.scores.detach()), images, labels, progress)


class ClassZeroIsDear(HonestLoss):
    def each(self, output, images, labels, progress):
        return super().each(output, images, labels, progress) * (1 + (labels == 0))


class DividesByProgress(HonestLoss):
    def each(self, output, images, labels, progress):
        return super().each(output, images, labels, progress) / progress


class WritesToTheScores(HonestLoss):
    def each(self, output, images, labels, progress):
        output.scores.clamp_(max=0.9)
        return super().each(output, images, labels, progress)


class NeedsAReconstruction(HonestLoss):
    def each(self, output, images, labels, progress):
        blur = (output.reconstruction - images).square().flatten(1).mean(dim=1)
        return super().each(output, images, labels, progress) + blur


class CountsItsCalls(HonestLoss):
    calls = 0

    def mean(self, each):
        self.calls += 1
        return each.mean() * self.calls


class LossDrawsNumbers(HonestLoss):
    def mean(self, each):
        return (each + 1e-9 * torch.randn_like(each)).mean()


class LossOptionWithoutType(HonestLoss):
    def __init__(self, *, weight=1.0):
        super().__init__(weight=weight)


class LossSeeds(HonestLoss):
    def mean(self, each):
        torch.manual_seed(0)
        return each.mean()


class LossViews(HonestLoss):
    def each(self, output, images, labels, progress):
        return super().each(output._replace(scores=output.scores.view(-1).view(-1, 5)), images, labels, progress)


class LossCountsClasses(torch.nn.Module):
    def __init__(self, *, weight: float = 1.0):
        super().__init__()
        self.honest = HonestLoss(weight=weight)
        self.register_buffer("counts", torch.zeros(5))

    def forward(self, output, images, labels, progress):
        if self.training:
            self.counts += one_hot(labels, 5).sum(dim=0)
        return self.honest(output, images, labels, progress)


LOSSES = [
    (SumOverTheBatch, "loss_is_a_mean_over_samples", "the mean of its halves"),
    (OneForEachSample, "terms_are_named_scalars", "distance has the shape (3,)"),
    (NoNames, "terms_are_named_scalars", ""),
    (LossInFloat32, "terms_are_named_scalars", "torch.float64 in, distance of torch.float32 out"),
    (LogarithmOfZero, "values_and_gradients_stay_finite", "the loss is inf"),
    (RewardsTheWrongClass, "right_costs_less_than_wrong", "scores that are right cost"),
    (DetachedScores, "gradients_reach_the_output", "no gradient in any"),
    (ClassZeroIsDear, "permuting_classes_changes_nothing", "in another order"),
    (DividesByProgress, "progress_is_accepted", ""),
    (WritesToTheScores, "inputs_stay_untouched", "scores after a call"),
    (NeedsAReconstruction, "lives_without_a_reconstruction", "raised TypeError"),
    (CountsItsCalls, "evaluation_repeats", "a second call"),
    (LossDrawsNumbers, "evaluation_draws_nothing", "of torch moved"),
    (LossSeeds, "process_stays_untouched", "seeds the random state of torch"),
    (LossViews, "memory_layout_changes_nothing", "raised RuntimeError: view size is not compatible"),
    (LossCountsClasses, "batches_leave_no_statistics", "depend on the batch trained on: counts"),
    (LossOptionWithoutType, "options_are_plain_data", "option 'weight' needs a type"),
]
