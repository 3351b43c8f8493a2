"""Dropout (Srivastava et al., JMLR 2014), in both of its forms, for units and for whole maps."""

from typing import Literal

import flax.linen as nn
import jax
from jax import numpy as jnp


class Dropout(nn.Module):
    """Sets every unit to zero with probability ``rate`` while training.

    The mask comes from the random stream "dropout".

    Attributes:
      rate: the probability, in [0, 1).
      form: "inverted" divides what is kept by 1 - rate in training and passes everything in
        evaluation; "plain" is the paper's: nothing is scaled in training, everything multiplied by
        1 - rate in evaluation. Expectations agree within each form, and the two differ by that
        factor.
      spatial: whether whole maps are dropped: one draw for each example and channel (Tompson et
        al., CVPR 2015).
    """

    rate: float
    form: Literal["inverted", "plain"] = "inverted"
    spatial: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Drops from ``x`` [N, ..., C].

        Raises:
          ValueError: if the rate is not in [0, 1) or the form is not one of the two.
        """
        if not 0 <= self.rate < 1:
            raise ValueError(f"the rate of dropout must be in [0, 1), got {self.rate}.")
        if self.form not in ("inverted", "plain"):
            raise ValueError(f'the form of dropout must be "inverted" or "plain": {self.form!r}.')
        kept = 1 - self.rate
        if not train:
            return x if self.form == "inverted" else x * jnp.asarray(kept, x.dtype)
        if self.rate == 0:
            return x
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]) if self.spatial else x.shape
        mask = jax.random.bernoulli(self.make_rng("dropout"), kept, shape)
        scaled = x / jnp.asarray(kept, x.dtype) if self.form == "inverted" else x
        return jnp.where(mask, scaled, jnp.zeros_like(x))
