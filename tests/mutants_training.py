"""Augmentations, schedules, networks and data sets with one mistake each; the lists are as in `mutants`."""

import random

import torch
from einops import rearrange
from torch.nn.functional import adaptive_avg_pool2d

from capsnet_dist import decoders, lengths, squash
from capsnet_dist.images.made import Made
from capsnet_dist.plugins import Augmentation, Model, Output, Split


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


class HonestModel(Model):
    """Class capsules straight from coarse pixels, in steps that a mutant can get wrong."""

    def __init__(self, image, classes: int, *, dim: int = 4):
        super().__init__(image, classes)
        self.dim = dim
        self.poses = torch.nn.Linear(image[0] * 16, classes * dim)
        self.decoder = decoders("masked", hidden=(8,)).build(image, classes, dim)

    def forward(self, images, labels=None):
        coarse = self.coarsen(images).flatten(1)
        poses = squash(rearrange(self.poses(coarse), "b (j d) -> b j d", d=self.dim))
        scores = self.score(poses, labels)
        chosen = scores.argmax(dim=1) if labels is None else labels
        return self.finish(Output(scores, poses, self.rebuild(poses, self.choose(chosen))))

    def coarsen(self, images):
        return adaptive_avg_pool2d(images, 4)

    def score(self, poses, labels):
        return lengths(poses)

    def choose(self, labels):
        return labels

    def finish(self, output):
        return output


class OneScoreTooMany(HonestModel):
    def finish(self, output):
        return output._replace(scores=torch.cat([output.scores, 0 * output.scores[:, :1]], dim=1))


class ModelInFloat32(HonestModel):
    def finish(self, output):
        return output._replace(scores=output.scores.float())


class SeesTheLabels(HonestModel):
    def score(self, poses, labels):
        scores = lengths(poses)
        return scores if labels is None else scores + 0.1 * torch.nn.functional.one_hot(labels, scores.shape[1])


class RebuildsTheFirstClass(HonestModel):
    def forward(self, images, labels=None):
        return super().forward(images, torch.zeros(len(images), dtype=torch.long) if labels is None else labels)


class ScoresNeedTheDecoder(HonestModel):
    def finish(self, output):
        bonus = 0.0 if output.reconstruction is None else output.reconstruction.mean(dim=(1, 2, 3))[:, None]
        return output._replace(scores=output.scores + bonus)


class CentredImages(HonestModel):
    def coarsen(self, images):
        return super().coarsen(images - images.mean(dim=0))


class CentredImagesInTraining(HonestModel):
    def coarsen(self, images):
        return super().coarsen(images - images.mean(dim=0) if self.training else images)


class ModelParameterNeverUsed(HonestModel):
    def __init__(self, image, classes: int, *, dim: int = 4):
        super().__init__(image, classes, dim=dim)
        self.bias = torch.nn.Parameter(torch.zeros(dim))


class ImagesAreDetached(HonestModel):
    def coarsen(self, images):
        return super().coarsen(images.detach())


class ModelStateOutsideTheStateDict(HonestModel):
    def __init__(self, image, classes: int, *, dim: int = 4):
        super().__init__(image, classes, dim=dim)
        self.gain = 1 + torch.rand(()).item()

    def coarsen(self, images):
        return self.gain * super().coarsen(images)


class CountsImagesInEvaluation(HonestModel):
    def __init__(self, image, classes: int, *, dim: int = 4):
        super().__init__(image, classes, dim=dim)
        self.register_buffer("seen", torch.zeros(()))

    def coarsen(self, images):
        self.seen += 0 if self.training else len(images)
        return super().coarsen(images)


class ModelGathersStatistics(HonestModel):
    def __init__(self, image, classes: int, *, dim: int = 4):
        super().__init__(image, classes, dim=dim)
        self.register_buffer("usual", torch.zeros(()))

    def coarsen(self, images):
        if self.training:
            self.usual.copy_(images.detach().mean())
        return super().coarsen(images)


class ModelDraws(HonestModel):
    def coarsen(self, images):
        torch.rand(())
        return super().coarsen(images)


class ModelSeeds(HonestModel):
    def __init__(self, image, classes: int, *, dim: int = 4):
        super().__init__(image, classes, dim=dim)
        torch.manual_seed(0)


class ModelViews(HonestModel):
    def coarsen(self, images):
        return super().coarsen(images.view(len(images), -1).view(images.shape))


class ModelRemembers(HonestModel):
    last = 0.0

    def coarsen(self, images):
        found = super().coarsen(images) + self.last
        self.last = images.detach().mean().item()
        return found


class WritesToItsImages(HonestModel):
    def coarsen(self, images):
        with torch.no_grad():
            images.mul_(0.9)
        return super().coarsen(images)


class ModelOptionWithoutType(HonestModel):
    def __init__(self, image, classes: int, *, dim=4):
        super().__init__(image, classes, dim=dim)


MODELS = [
    (OneScoreTooMany, "output_fits", "scores are (3, 5)"),
    (ModelInFloat32, "output_fits", "torch.float64 in, scores of torch.float32 out"),
    (SeesTheLabels, "labels_only_choose_what_is_rebuilt", "scores and poses with labels, against none"),
    (RebuildsTheFirstClass, "labels_only_choose_what_is_rebuilt", "what is rebuilt without labels"),
    (ScoresNeedTheDecoder, "predictions_have_the_scores_of_evaluation", "scores of predict"),
    (ImagesAreDetached, "gradients_reach_inputs", "the gradient of images is absent"),
    (ModelParameterNeverUsed, "gradients_reach_parameters", "bias (absent)"),
    (CentredImages, "samples_are_independent", "sample 0 alone"),
    (CentredImagesInTraining, "training_keeps_samples_apart", "sample 0 among others"),
    (CountsImagesInEvaluation, "state_stays_untouched", "seen after a call"),
    (ModelStateOutsideTheStateDict, "weights_rebuild_the_function", "built anew and loaded, in evaluation"),
    (ModelViews, "memory_layout_changes_nothing", "raised RuntimeError: view size is not compatible"),
    (ModelRemembers, "evaluation_repeats", "a second call"),
    (WritesToItsImages, "inputs_stay_untouched", "images after a call"),
    (ModelDraws, "evaluation_draws_nothing", "of torch moved"),
    (ModelSeeds, "process_stays_untouched", "its construction seeds the random state of torch"),
    (ModelGathersStatistics, "batches_leave_no_statistics", "depend on the batch trained on: usual"),
    (ModelOptionWithoutType, "options_are_plain_data", "option 'dim' needs a type"),
]


class HonestDataset:
    """Twelve pictures of noise, in steps that a mutant can get wrong."""

    classes = ("cat", "dog", "fox")

    def __init__(self, *, seed: int = 0):
        self.seed = seed

    def split(self, name):
        draw = torch.Generator().manual_seed(self.seed + (name == "test"))
        images = torch.randint(256, (12, 1, 6, 7), generator=draw, dtype=torch.uint8)
        return self.finish(Split(images, torch.arange(12) % 3), name)

    def finish(self, split, name):
        return split


class LabelsFromOne(HonestDataset):
    def finish(self, split, name):
        return split._replace(labels=split.labels + 1)


class TestIsLarger(HonestDataset):
    def finish(self, split, name):
        return split if name == "train" else split._replace(images=split.images.repeat(1, 1, 2, 2))


class TestIsEmpty(HonestDataset):
    def finish(self, split, name):
        return split if name == "train" else split.part(torch.arange(0))


class OneClassAlone(HonestDataset):
    classes = ("cat",)

    def finish(self, split, name):
        return split._replace(labels=0 * split.labels)


class ImagesAreArrays(HonestDataset):
    def finish(self, split, name):
        return split._replace(images=split.images.numpy())


class SplitIsATuple(HonestDataset):
    def finish(self, split, name):
        return tuple(split)


class SplitFails(HonestDataset):
    def finish(self, split, name):
        raise LookupError("no picture is where it was")


class TwoCats(HonestDataset):
    classes = ("cat", "dog", "cat")


class NamesAreNumbers(HonestDataset):
    classes = (0, 1, 2)


class OrderIsDrawnWhenBuilt(HonestDataset):
    def __init__(self, *, seed: int = 0):
        super().__init__(seed=seed)
        self.start = random.randint(0, 10**9)

    def finish(self, split, name):
        return split.select(torch.randperm(12, generator=torch.Generator().manual_seed(self.start)))


class NoiseIsNew(HonestDataset):
    def finish(self, split, name):
        return split._replace(images=torch.randint(256, split.images.shape, dtype=torch.uint8))


class AnotherOrderEachTime(HonestDataset):
    calls = 0

    def finish(self, split, name):
        self.calls += 1
        return Split(split.images.roll(self.calls, dims=0), split.labels)


class DatasetDraws(HonestDataset):
    def finish(self, split, name):
        torch.rand(())
        return split


class DatasetSeeds(HonestDataset):
    def __init__(self, *, seed: int = 0):
        super().__init__(seed=seed)
        torch.manual_seed(seed)


class DatasetOptionWithoutType(HonestDataset):
    def __init__(self, *, seed=0):
        super().__init__(seed=seed)


class NoiseByPlace(Made):
    """Images that follow from the place in a batch, and not from the number that is asked for."""

    def make(self, rows):
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(256, (len(rows), *self.image), generator=draw, dtype=torch.uint8)
        return images, images[:, None]

    def part(self, indices):
        return type(self)(self.image, self.rows[indices], self.digest)

    def to(self, device):
        return self


class ShadesByNumber(NoiseByPlace):
    """Images that follow from their number, but a part is that of other numbers."""

    def make(self, rows):
        images = rows.byte()[:, None, None, None].expand(-1, *self.image)
        return images, images[:, None]

    def part(self, indices):
        return type(self)(self.image, indices.sort().values, self.digest)


class PlaceDecides(HonestDataset):
    images = NoiseByPlace

    def finish(self, split, name):
        return Split(self.images((1, 6, 7), torch.arange(12), name), split.labels)


class PartsAreSorted(PlaceDecides):
    images = ShadesByNumber


DATASETS = [
    (LabelsFromOne, "splits_can_be_trained_on", "label 3 of image 2 names none of 3 classes"),
    (TestIsLarger, "splits_can_be_trained_on", "must have the same channels, height and width"),
    (TestIsEmpty, "splits_can_be_trained_on", "split test has no images"),
    (OneClassAlone, "splits_can_be_trained_on", "there is one class alone: 'cat'"),
    (ImagesAreArrays, "splits_can_be_trained_on", "split train: images must be a tensor; got ndarray"),
    (SplitIsATuple, "splits_can_be_trained_on", "must be a capsnet_dist.Split of images and labels; got tuple"),
    (SplitFails, "splits_can_be_trained_on", "it raised LookupError: no picture is where it was"),
    (TwoCats, "class_names_are_distinct", "2 classes are called 'cat'"),
    (NamesAreNumbers, "class_names_are_distinct", "a class is called 0"),
    (OrderIsDrawnWhenBuilt, "images_are_always_the_same", "built anew, it has another split train"),
    (PlaceDecides, "rows_by_number_equal_rows_in_bulk", "train, rows one by one"),
    (PartsAreSorted, "rows_by_number_equal_rows_in_bulk", "train, rows of a part"),
    (AnotherOrderEachTime, "evaluation_repeats", "a second call"),
    (DatasetDraws, "evaluation_draws_nothing", "of torch moved"),
    (NoiseIsNew, "evaluation_draws_nothing", "of torch moved"),
    (DatasetSeeds, "process_stays_untouched", "its construction seeds the random state of torch"),
    (DatasetOptionWithoutType, "options_are_plain_data", "option 'seed' needs a type"),
]
