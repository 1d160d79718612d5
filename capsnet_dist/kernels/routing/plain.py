"""Dynamic routing by single passes over the parts, in plain torch.

The logits of an iteration are u_hat_ij . V_j + prior_ij, where V_j is the sum of the poses v_j of the iterations
before: a pass takes V, b x j x d numbers, and gives as many. Votes and couplings live for a block of parts only.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.kernels.blocks import blocks


def total(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """The totals of one iteration: s_j = sum_i c_ij u_hat_ij with c_i = softmax(u_hat_i . V + prior_i).

    Args:
        poses: Poses u_i.
        weight: Transformations W_ij.
        prior: Logits of the first iteration; zeros where None.
        gathered: V, the sum of the wholes' poses in the iterations before.
        leaky: Whether a part may choose none of the wholes, by one more logit, zero.
    """
    vectors = rearrange(gathered, "b j d -> j d 1 b").contiguous()
    s = torch.zeros_like(vectors[:, :, 0])
    for block in blocks(poses, weight):
        agreement = block.agree(block.project(vectors))
        block.add_total(couple(agreement, _of_block(prior, block.parts), leaky), s)
    return rearrange(s, "j d b -> b j d")


def gathered_gradient(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    gradient: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """From the gradient of s to that of V: gV_j = sum_i gb_ij u_hat_ij.

    Args:
        poses: Poses u_i.
        weight: Transformations W_ij.
        prior: Logits of the first iteration; zeros where None.
        gathered: V.
        gradient: gs.
        leaky: Whether a part may choose none of the wholes.
    """
    vectors = rearrange([gathered, gradient], "m b j d -> j d m b").contiguous()
    gV = torch.zeros_like(vectors[:, :, 0])
    for block in blocks(poses, weight, sets=2):
        agreement, gc = block.agree(block.project(vectors)).split(1, dim=2)
        c = couple(agreement, _of_block(prior, block.parts), leaky)
        block.add_total(couple_gradient(c, gc), gV)
    return rearrange(gV, "j d b -> b j d")


def input_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "t b j d"],
    gradient: Float[Tensor, "t b j d"],
    common: Float[Tensor, "b j d"],
    leaky: bool,
    through: bool,
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"], Float[Tensor, "i j"]]:
    """Gradients of u, W and the prior: gu_hat_ij = g_j + sum_t (c_ij gs_j + gb_ij V_j).

    Args:
        poses: Poses u_i.
        weight: Transformations W_ij.
        prior: Logits of the first iteration; zeros where None.
        gathered: V of some iterations.
        gradient: gs of the same iterations.
        common: g, which all votes have in common.
        leaky: Whether a part may choose none of the wholes.
        through: Whether logits depend on the votes; else they depend on the prior alone.
    """
    gu, gW, gprior = torch.empty_like(poses), torch.empty_like(weight), gradient.new_empty(weight.shape[:2])
    vectors = rearrange(torch.cat([gathered, gradient]), "m b j d -> j d m b").contiguous()
    g = rearrange(common, "b j d -> j d b").contiguous()
    iterations = len(gathered)
    for block in blocks(poses, weight, sets=2 * iterations):
        projected = block.project(vectors)
        agreement, gc = block.agree(projected).split([iterations, iterations], dim=2)
        c = couple(agreement, _of_block(prior, block.parts), leaky)
        gb = couple_gradient(c, gc)
        share = torch.cat([gb * through, c], dim=2)
        even_gu, even_gW = block.even_gradients(g)
        gu[:, block.parts] = even_gu + block.pose_gradient(share, projected)
        gW[block.parts] = even_gW + block.weight_gradient(share, vectors)
        gprior[block.parts] = rearrange(gb.sum(dim=(2, 3)), "j n -> n j")
    return gu, gW, gprior


def couple(
    agreement: Float[Tensor, "j n m b"], prior: Float[Tensor, "n j"] | None, leaky: bool
) -> Float[Tensor, "j n m b"]:
    """c_i = softmax(a_i + prior_i), over the wholes and, where leaky, one more logit that is zero."""
    logits = agreement if prior is None else agreement + rearrange(prior, "n j -> j n 1 1")
    if leaky:
        return nn.functional.pad(logits, (0, 0, 0, 0, 0, 0, 0, 1)).softmax(dim=0)[:-1]
    return logits.softmax(dim=0)


def couple_gradient(c: Float[Tensor, "j n m b"], gc: Float[Tensor, "j n m b"]) -> Float[Tensor, "j n m b"]:
    """gb_ij = c_ij (gc_ij - sum_k c_ik gc_ik); the logit that is always zero has no gc."""
    return c * (gc - (c * gc).sum(dim=0))


def _of_block(prior: Float[Tensor, "i j"] | None, parts: slice) -> Float[Tensor, "n j"] | None:
    return None if prior is None else prior[parts]
