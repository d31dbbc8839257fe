"""What the configs of all models share."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from m5jax.errors import UserError, unknown_name
from m5jax.models.maximal_update import MaximalUpdate
from m5jax.models.stack import REMAT_POLICIES

DTYPES = ("auto", "float32", "bfloat16")


class ModelSettings:
    """Base of a model's config dataclass, which has at least these fields."""

    width: int
    head_dim: int
    dropout_rate: float
    dtype: str
    remat: str
    maximal_update: MaximalUpdate | None

    def check(self, counts: Sequence[str], positive: Sequence[str]) -> None:
        """Raises UserError where a count is below 1, a `positive` field is not, or a common one is not allowed."""
        for name in counts:
            if getattr(self, name) < 1:
                raise UserError(f"{self._named(name)} = {getattr(self, name)}; a positive integer is needed")
        for name in positive:
            if not 0.0 < getattr(self, name) < math.inf:
                raise UserError(f"{self._named(name)} = {getattr(self, name)}; allowed: above 0")
        if not 0.0 <= self.dropout_rate < 1.0:
            raise UserError(f"{self._named('dropout_rate')} = {self.dropout_rate}; allowed: 0 up to, not including, 1")
        self.check_choice("dtype", DTYPES)
        self.check_choice("remat", tuple(REMAT_POLICIES))

    def check_choice(self, name: str, allowed: Sequence[str]) -> None:
        """Raises UserError where a field is none of the names that are allowed."""
        if getattr(self, name) not in allowed:
            raise unknown_name(self._named(name), getattr(self, name), allowed)

    @property
    def compute_dtype(self) -> jnp.dtype:
        """Of the products."""
        if self.dtype == "auto":
            return jnp.dtype("float32" if jax.default_backend() == "cpu" else "bfloat16")
        return jnp.dtype(self.dtype)

    @property
    def base_width(self) -> int:
        """Of the model that rates are tuned for; with the standard parametrization this one."""
        return self.maximal_update.base_width if self.maximal_update else self.width

    @property
    def base_head_dim(self) -> int:
        """As `base_width`, the size of heads."""
        return self.maximal_update.base_head_dim if self.maximal_update else self.head_dim

    @property
    def width_multiple(self) -> float:
        """How many times as wide as its base this model is."""
        return self.width / self.base_width

    @property
    def attention_scale(self) -> float:
        """Of scores of queries and keys whose entries are about 1."""
        return self.base_head_dim**0.5 / self.head_dim

    def _named(self, field: str) -> str:
        return f"{type(self).__name__}.{field}"
