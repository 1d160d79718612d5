"""Augmentations and schedules with one mistake each; the lists are as in `mutants`."""

import random

import torch

from capsnet_dist.plugins import Augmentation


class HonestAugmentation(Augmentation):
    """Images darker by up to a number of shades, in steps that a mutant can get wrong."""

    num_draws = 1

    def __init__(self, *, shades: int = 100):
        self.shades = shades

    def __call__(self, images, draws):
        return self.darken(images, (draws * self.shades).byte()[:, :, None, None])

    def darken(self, images, shades):
        return images - torch.minimum(images, shades)


class HonestMixture(HonestAugmentation):
    mixes = True

    def mix(self, images, others, draws, other_draws):
        share = self.share(draws[:, 0])
        return (share[:, None, None, None] * images + (1 - share)[:, None, None, None] * others).byte(), share

    def share(self, draws):
        return 0.5 + draws / 2


class GivesFloats(HonestAugmentation):
    def darken(self, images, shades):
        return super().darken(images, shades) / 255


class CutsInTrainingOnly(HonestAugmentation):
    def darken(self, images, shades):
        return super().darken(images, shades)[..., 1:-1, 1:-1]


class EvaluationIsDrawn(HonestAugmentation):
    def still(self, images):
        return images.roll(random.randint(0, 1000), dims=3)


class StillWrites(HonestAugmentation):
    def still(self, images):
        return images.clamp_(max=200)


class ViewsWithoutTheStillOne(HonestAugmentation):
    def views(self, images):
        return [images.flip(3), images]


class ShadesOfTheBatch(HonestAugmentation):
    def darken(self, images, shades):
        return super().darken(images, shades.amax(dim=0))


class DrawsAreNotUsed(HonestAugmentation):
    def darken(self, images, shades):
        return super().darken(images, 0 * shades + 50)


class OthersAreMoreThanHalf(HonestMixture):
    def share(self, draws):
        return draws


class DarkensBySelecting(HonestAugmentation):
    def darken(self, images, shades):
        return torch.where(images > shades, images - shades, 0) if (shades >= 0).all() else images


class WritesToTheImages(HonestAugmentation):
    def darken(self, images, shades):
        return images.sub_(torch.minimum(images, shades))


class DrawsFromTorch(HonestAugmentation):
    def darken(self, images, shades):
        torch.rand(())
        return super().darken(images, shades)


class RemembersTheLastBatch(HonestAugmentation):
    last = 0

    def darken(self, images, shades):
        darker = super().darken(images, torch.full_like(shades, self.last))
        self.last = int(shades.float().mean().item()) if shades.device.type == "cpu" else 0
        return super().darken(darker, shades)


class AugmentationSeeds(HonestAugmentation):
    def __init__(self, *, shades: int = 100):
        super().__init__(shades=shades)
        torch.manual_seed(0)


class AugmentationViews(HonestAugmentation):
    def darken(self, images, shades):
        return super().darken(images.view(len(images), -1).view(images.shape), shades)


class AugmentationOptionWithoutType(HonestAugmentation):
    def __init__(self, *, shades=100):
        super().__init__(shades=shades)


AUGMENTATIONS = [
    (GivesFloats, "sizes_are_those_of_evaluation", "bytes in, torch.float32 out"),
    (CutsInTrainingOnly, "sizes_are_those_of_evaluation", "training sees (3, 1, 30, 34) and evaluation (3, 1, 32, 36)"),
    (EvaluationIsDrawn, "evaluation_sees_the_same", "still, a second time"),
    (StillWrites, "evaluation_sees_the_same", "images after a call of still"),
    (ViewsWithoutTheStillOne, "evaluation_sees_the_same", "the first of views against still"),
    (ShadesOfTheBatch, "division_changes_nothing", "12 images divided into"),
    (DrawsAreNotUsed, "draws_decide", "the same in two epochs"),
    (OthersAreMoreThanHalf, "shares_of_mixtures_are_at_least_half", "shares go from 0"),
    (DarkensBySelecting, "no_value_is_waited_for", "raised"),
    (WritesToTheImages, "inputs_stay_untouched", "images after a call"),
    (DrawsFromTorch, "evaluation_draws_nothing", "of torch moved"),
    (RemembersTheLastBatch, "evaluation_repeats", "a second call"),
    (AugmentationSeeds, "process_stays_untouched", "its construction seeds the random state of torch"),
    (AugmentationViews, "memory_layout_changes_nothing", "raised RuntimeError: view size is not compatible"),
    (AugmentationOptionWithoutType, "options_are_plain_data", "option 'shades' needs a type"),
]
TOGETHER = {
    WritesToTheImages: {
        "division_changes_nothing",
        "draws_decide",
        "evaluation_repeats",
        "memory_layout_changes_nothing",
    },
    RemembersTheLastBatch: {"division_changes_nothing", "memory_layout_changes_nothing"},
}
"""Mutants that break other laws as well: what was written or kept changes what the next call sees."""


class HonestSchedule:
    """A straight line down to 0, which the training ends before, in steps that a mutant can get wrong."""

    def __init__(self, steps: int, *, final: float = 0.0):
        self.steps, self.final = steps, final

    def __call__(self, step):
        return self.final + (1 - self.final) * (1 - self.share(step))

    def share(self, step):
        return step / self.steps


class DividesByTheStepsLeft(HonestSchedule):
    def share(self, step):
        return step / (self.steps - 1)


class FallsTooFar(HonestSchedule):
    def share(self, step):
        return 2 * step / self.steps


class FactorIsATensor(HonestSchedule):
    def __call__(self, step):
        return torch.tensor(super().__call__(step))


class NeverLearns(HonestSchedule):
    def share(self, step):
        return 1.0


class HalfOfThePeak(HonestSchedule):
    def share(self, step):
        return 0.5 + step / self.steps / 2


class DrawnWhenBuilt(HonestSchedule):
    def __init__(self, steps: int, *, final: float = 0.0):
        super().__init__(steps, final=final)
        self.power = 1 + random.random()

    def share(self, step):
        return super().share(step) ** self.power


class CountsItsSteps(HonestSchedule):
    calls = -1

    def share(self, step):
        self.calls = min(self.calls + 1, self.steps - 1)
        return self.calls / self.steps


class ScheduleDraws(HonestSchedule):
    def share(self, step):
        torch.rand(())
        return super().share(step)


class ScheduleSeeds(HonestSchedule):
    def __init__(self, steps: int, *, final: float = 0.0):
        super().__init__(steps, final=final)
        torch.manual_seed(0)


class ScheduleOptionWithoutType(HonestSchedule):
    def __init__(self, steps: int, *, final=0.0):
        super().__init__(steps, final=final)


SCHEDULES = [
    (DividesByTheStepsLeft, "factors_are_shares_of_the_peak", "raised ZeroDivisionError"),
    (FallsTooFar, "factors_are_shares_of_the_peak", "at step 2 of 3 the factor is -0.33"),
    (FactorIsATensor, "factors_are_shares_of_the_peak", "at step 0 of 1 the factor is tensor(1.)"),
    (NeverLearns, "some_step_learns", "the factor is 0 at each of 1 steps"),
    (HalfOfThePeak, "peak_is_reached", "the largest factor of 100 steps is 0.5"),
    (DrawnWhenBuilt, "step_alone_decides", "and resumed there"),
    (CountsItsSteps, "evaluation_repeats", "a second call"),
    (ScheduleDraws, "evaluation_draws_nothing", "of torch moved"),
    (ScheduleSeeds, "process_stays_untouched", "its construction seeds the random state of torch"),
    (ScheduleOptionWithoutType, "options_are_plain_data", "option 'final' needs a type"),
]
TOGETHER |= {
    DividesByTheStepsLeft: {"some_step_learns"},
    NeverLearns: {"peak_is_reached"},
    CountsItsSteps: {"step_alone_decides"},
}
