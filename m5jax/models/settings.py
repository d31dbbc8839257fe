"""What the configs of all models share: the shape of a layer, its options, and numerics."""

import abc
import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from m5jax.errors import UserError, check_above_zero, check_below_one, check_least, unknown_name
from m5jax.models.layers import ACTIVATIONS, NORMS
from m5jax.models.low_rank import LowRankAdapters
from m5jax.models.maximal_update import MaximalUpdate
from m5jax.models.stack import REMAT_POLICIES, remat_cycle
from partitioning.workload import Head, Stack

DTYPES = ("auto", "float32", "bfloat16")
_COUNTS = ("vocab_size", "width", "heads", "mlp_hidden", "head_dim", "global_every", "local_window", "pipeline_rounds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings(abc.ABC):
    """Base of a model's config.

    Attributes:
      vocab_size: rows of the embedding, at least the vocabulary's size.
      width: size of a token's state.
      heads: attention heads of queries.
      mlp_hidden: hidden units of the gated MLP.
      head_dim: size of a head; None: width / heads.
      kv_heads: heads of keys and values, a divisor of `heads`, for groups of these (arXiv 2305.13245); None: as many.
      query_key_norm: each query and key head has a root-mean-square norm, whatever `norm` says (Qwen3, arXiv
        2505.09388).
      norm: "layer" (arXiv 1607.06450) or "rms" (arXiv 1910.07467), without biases.
      activation: in the gated MLP (arXiv 2002.05202) and in an encoder's masked-LM head: "gelu", "gelu_tanh" (T5's) or
        "silu" (SwiGLU).
      rotary_theta: base of the rotary frequencies.
      global_every: the first layer and every `global_every`-th after it see all tokens that they may, the others near
        ones (arXiv 2412.13663, section 2.1.2); 1: all see all.
      local_window: tokens that are near: half of them on each side, or, in stacks where no token sees a later one, all
        before, itself among them.
      local_rotary_theta: as `rotary_theta`, in layers that see near tokens.
      dropout_rate: of the embedding and of each attention and MLP output.
      norm_epsilon: added to the variance or mean square in norms.
      dtype: of the products: "bfloat16", "float32", or "auto" (bfloat16 except on CPU).
      remat: what the backward pass has of each layer beside its input: "none" (recomputes nothing, keeps all), "dots"
        (keeps products), "attention_saved" (queries, keys, values and what they become), "full" (recomputes all) or
        "offload" (as "full", and inputs wait in the host's memory); or several that layers take in turn.
      pipeline_microbatches: parts of a batch that pass the stages of a pipeline one after the other, a multiple of
        these; 0: two a stage. Fewer where there are fewer rows.
      pipeline_rounds: how often a part passes all stages (`m5jax.models.pipeline`).
      maximal_update: the model whose best rates are this one's too; None: the standard parametrization.
      adapters: low-rank ones beside kernels, to be trained alone; None: there are none.
    """

    vocab_size: int
    width: int
    heads: int
    mlp_hidden: int
    head_dim: int | None = None
    kv_heads: int | None = None
    query_key_norm: bool = False
    norm: str = "rms"
    activation: str = "gelu"
    rotary_theta: float = 10_000.0
    global_every: int = 1
    local_window: int = 128
    local_rotary_theta: float = 10_000.0
    dropout_rate: float = 0.0
    norm_epsilon: float = 1e-6
    dtype: str = "auto"
    remat: str | tuple[str, ...] = "none"
    pipeline_microbatches: int = 0
    pipeline_rounds: int = 1
    maximal_update: MaximalUpdate | None = None
    adapters: LowRankAdapters | None = None

    def __post_init__(self) -> None:
        check_least(self, **dict.fromkeys(_COUNTS, 1), pipeline_microbatches=0)
        check_above_zero(self, "rotary_theta", "local_rotary_theta", "norm_epsilon")
        check_below_one(self, "dropout_rate")
        self.check_choice("norm", tuple(NORMS))
        self.check_choice("activation", tuple(ACTIVATIONS))
        self.check_choice("dtype", DTYPES)
        if not isinstance(self.remat, (str, tuple)):
            raise UserError(f"{self.named('remat')} = {self.remat!r}; allowed: a policy or a tuple of policies")
        for policy in remat_cycle(self.remat):
            if policy not in REMAT_POLICIES:
                raise unknown_name(self.named("remat"), policy, tuple(REMAT_POLICIES))
        self._check_heads()

    def check_layers(self, names: Sequence[str]) -> None:
        """Raises UserError where a number of layers is below 1 or does not split by the policies of `remat`."""
        check_least(self, **dict.fromkeys(names, 1))
        cycle = len(remat_cycle(self.remat))
        for name in names:
            if cycle < 1 or getattr(self, name) % cycle:
                raise UserError(
                    f"{self.named('remat')} has {cycle} policies, which do not divide {name} = {getattr(self, name)}"
                )

    def check_choice(self, name: str, allowed: Sequence[str]) -> None:
        """Raises UserError where a field is none of the names that are allowed."""
        if getattr(self, name) not in allowed:
            raise unknown_name(self.named(name), getattr(self, name), allowed)

    def named(self, field: str) -> str:
        """Returns a field's name for messages."""
        return f"{type(self).__name__}.{field}"

    def _check_heads(self) -> None:
        if self.head_dim is None and self.width % self.heads:
            raise UserError(f"{self.named('width')} = {self.width} does not split into {self.heads} heads")
        if self.rotates and self.head_size % 2:
            raise UserError(f"{self.named('head_dim')} = {self.head_size}; rotary positions need heads of an even size")
        if self.key_value_heads < 1 or self.heads % self.key_value_heads:
            raise UserError(
                f"{self.named('kv_heads')} = {self.kv_heads} does not divide heads = {self.heads} into equal groups"
            )

    @property
    def rotates(self) -> bool:
        """Whether positions are rotary."""
        return True

    @property
    def head_size(self) -> int:
        """`head_dim`, or what it is by default."""
        return self.width // self.heads if self.head_dim is None else self.head_dim

    @property
    def key_value_heads(self) -> int:
        """`kv_heads`, or how many there are by default."""
        return self.heads if self.kv_heads is None else self.kv_heads

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
    def base_head_size(self) -> int:
        """The size of heads of the model of `base_width`."""
        return self.maximal_update.base_head_dim if self.maximal_update else self.head_size

    @property
    def width_multiple(self) -> float:
        """How many times as wide as its base this model is."""
        return self.width / self.base_width

    @property
    def has_dense_head(self) -> bool:
        """Whether a square product stands before the logits."""
        return False

    def microbatches(self, stages: int, rows: int) -> int:
        """Returns into how many micro-batches a pipeline cuts rows: as configured, or fewer where rows are.

        Args:
          stages: of the pipeline; 1: there is none.
          rows: of a part of the batch, on each of the devices that share those of a stage; a multiple of `stages`.
        """
        return 1 if stages == 1 else math.gcd(self.pipeline_microbatches or 2 * stages, rows)

    @abc.abstractmethod
    def stacks(self, length: float, predicted: float) -> tuple[Stack, ...]:
        """Returns what the stacks of layers compute on a row of `length` tokens with `predicted` predictions; of an
        encoder-decoder these are the decoder's tokens."""

    def flops_per_token(self, length: int, predicted_fraction: float) -> float:
        """Returns FLOPs of forward and backward a token (three times the forward, without recomputation).

        Counts matrix products only: parameters, all scores and weighted sums of attention, masked ones too, and logits
        at `predicted_fraction` of the positions (arXiv 2204.02311, appendix B). Of an encoder-decoder, inputs and the
        `predicted_fraction` as many targets both count as tokens.
        """
        predicted = predicted_fraction * length
        stacks = self.stacks(float(length), predicted)
        head = Head(self.width, self.vocab_size, predicted, self.has_dense_head)
        products = sum(stack.products for stack in stacks) + head.products
        return 6.0 * products / sum(stack.length for stack in stacks)
