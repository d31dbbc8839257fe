"""Bytes on one device at the peak of a training step, predicted.

Parameters, optimizer state and the activations that layers keep follow from shapes and rules. What else lives is
estimated for the moments at which a step can peak: the logits and their gradients, the backward pass of a layer of each
stack, and the gradient of the embedding.
"""

import dataclasses
from collections.abc import Sequence

from partitioning.hardware import Chip
from partitioning.layout import Layout
from partitioning.shares import BFLOAT16, FLOAT32, Share
from partitioning.workload import MOST_SCORES, Stack, Tensor, Workload

_PASSED = 3  # copies of a part's states, of those that wait for a stage and their gradients
_FACTORED_FROM = 128  # optax.scale_by_factored_rms: smaller matrices keep all moments


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device, by part.

    Attributes:
      parameters, optimizer: the state.
      gradients: of all parameters, twice where they are accumulated.
      kept: activations that wait for the backward pass.
      working: what the moment of the peak needs beside these.
      host: activations that wait in the memory of the host.
    """

    parameters: float
    optimizer: float
    gradients: float
    kept: float
    working: float
    host: float = 0.0

    @property
    def total(self) -> float:
        """On the device."""
        return self.parameters + self.optimizer + self.gradients + self.kept + self.working


@dataclasses.dataclass(frozen=True)
class Copies:
    """How many copies of what a compiler's programs hold at their peaks beside what is kept, fitted to programs of
    each by `benchmarks/memory_fit.py`.

    Attributes:
      logits: of a chunk, float32.
      tables: of the whole embedding as float32, at the logits.
      summed_tables: the same when the logits are gone and devices add gradients up.
      last_tables: the same of each embedding, after the layers.
      scores: of a layer, float32.
      hidden: of a layer's MLP.
      heads: of a layer's queries, keys and values.
      states: of a layer's tokens.
      weights: of a layer, gathered.
    """

    logits: float
    tables: float
    summed_tables: float
    last_tables: float
    scores: float
    hidden: float
    heads: float
    states: float
    weights: float


COPIES = {
    "cuda": Copies(1.76, 0.97, 0.0, 1.32, 2.92, 3.06, 2.27, 8.15, 2.04),
    "tpu": Copies(1.82, 0.12, 1.16, 0.0, 1.97, 2.77, 0.0, 5.42, 1.34),
}


def step_memory(
    workload: Workload, layout: Layout, chip: Chip, batch_size: int, copies: Copies | None = None
) -> Memory:
    """Returns the bytes of a step of a global batch on one device; `copies` stand for those of the chip's compiler."""
    share, copies = Share.of(layout, batch_size), copies or COPIES[chip.platform]
    cut = [(tensor, tensor.size / share.shards(tensor)) for tensor in workload.tensors]
    parameters = FLOAT32 * sum(size for _, size in cut)
    optimizer = 2 * parameters
    if layout.optimizer == "adafactor":
        moments = [moment for tensor in workload.tensors for moment in factored_moments(tensor)]
        optimizer = FLOAT32 * sum(moment.size / share.shards(moment) for moment in moments)
    stacked = FLOAT32 * sum(size for tensor, size in cut if tensor.stacked)
    accumulated = parameters if layout.accumulation > 1 else 0.0
    exchanged = 2 * stacked if layout.rounds > 1 else 0.0  # layers in the order of the stages, and their gradients
    kept = [kept_activations(stack, layout, share) for stack in workload.stacks]
    host = sum(offloaded(stack, layout, share) for stack in workload.stacks)
    vocabularies = [tensor for tensor in workload.tensors if tensor.axes == ("vocab", "embed")]
    tables = FLOAT32 * sum(tensor.size / share.gathered_shards(tensor) for tensor in vocabularies)
    table = tables / len(vocabularies)
    head = workload.head
    logits = FLOAT32 * share.rows * min(layout.chunk, head.positions) * share.vocabulary(head)
    states = BFLOAT16 * share.rows * max(stack.length / share.parts(stack) * stack.width for stack in workload.stacks)
    # (gradients, kept, working) at the logits, after them, in each stack, where what later ones kept is gone, and at
    # the gradient of the embedding.
    peaks = [
        (0.0, sum(kept), copies.logits * logits + copies.tables * table + copies.states * states),
        (0.0, sum(kept), copies.summed_tables * table + copies.states * states),
        *(
            (parameters + exchanged, sum(kept[: index + 1]), _layer(stack, workload, share, copies))
            for index, stack in enumerate(workload.stacks)
        ),
        (stacked, 0.0, copies.last_tables * tables + copies.states * states),
    ]
    gradients, waiting, working = max(peaks, key=sum)
    return Memory(parameters, optimizer, gradients + accumulated, waiting, working, host)


def factored_moments(tensor: Tensor) -> list[Tensor]:
    """Returns what Adafactor keeps of a parameter (optax.scale_by_factored_rms): sums over each of its two largest
    axes, or, where the second is short, as much as itself."""
    shape = tensor.shape
    largest = sorted(range(len(shape)), key=lambda axis: shape[axis])[-2:]
    if len(shape) < 2 or shape[largest[0]] < _FACTORED_FROM:
        return [tensor]
    return [
        Tensor(tensor.path, shape[:axis] + shape[axis + 1 :], tensor.axes[:axis] + tensor.axes[axis + 1 :])
        for axis in largest
    ]


def kept_activations(stack: Stack, layout: Layout, share: Share) -> float:
    """Returns the bytes that the layers of a stack keep for the backward pass, and a pipeline between them."""
    tokens = share.tokens(stack)
    states = BFLOAT16 * tokens * stack.width
    hidden = BFLOAT16 * tokens * share.split(stack.mlp_hidden)
    attentions = 2 if stack.crossed else 1
    queries = BFLOAT16 * tokens * share.split(stack.heads) * stack.head_dim * attentions
    keys = (
        BFLOAT16 * share.stage_rows * (stack.length + stack.crossed) * share.split(stack.kv_heads) * stack.head_dim * 2
    )
    of_policy = {
        # States before and after each norm, queries and what they become, the MLP's two products and theirs, softmax in
        # both types.
        "none": 2 * (1 + attentions) * states
        + 2 * queries
        + keys
        + 3 * hidden
        + (FLOAT32 + BFLOAT16) * _kept_scores(stack, share),
        "dots": (1 + attentions) * states + queries + keys + 2 * hidden,
        "attention_saved": states + 2 * queries + keys,
        "full": states,
        "offload": 0.0,
    }
    of_layers = _passed_layers(stack, layout) * sum(of_policy[policy] for policy in layout.remat) / len(layout.remat)
    return of_layers + (_PASSED * layout.microbatches * states if layout.mesh.pipeline > 1 else 0.0)


def _kept_scores(stack: Stack, share: Share) -> float:
    """Returns the scores that a layer keeps where nothing is recomputed; those that it makes a part at a time, or of
    near tokens in some layers, are made again all the same."""
    queries = stack.length / share.parts(stack)
    own = stack.keys if stack.keys == stack.length else 0.0
    kept = sum(keys for keys in (own, stack.crossed) if queries * keys <= MOST_SCORES)
    return share.stage_rows * share.split(stack.heads) * queries * kept


def offloaded(stack: Stack, layout: Layout, share: Share) -> float:
    """Returns the bytes that wait in the host's memory."""
    layers = layout.remat.count("offload") / len(layout.remat) * _passed_layers(stack, layout)
    return layers * BFLOAT16 * share.tokens(stack) * stack.width


def _passed_layers(stack: Stack, layout: Layout) -> float:
    """Returns how many layers, of a device, a micro-batch each, wait for the backward pass."""
    of_pass = stack.layers / (layout.mesh.pipeline * layout.rounds)
    return of_pass * layout.passes


def _layer(stack: Stack, workload: Workload, share: Share, copies: Copies) -> float:
    """Returns the bytes that the backward pass of one layer needs."""
    tokens = share.tokens(stack)
    queries = min(stack.length / share.parts(stack), MOST_SCORES / max(stack.keys, stack.crossed))
    scores = FLOAT32 * share.stage_rows * share.split(stack.heads) * queries * max(stack.keys, stack.crossed)
    hidden = BFLOAT16 * tokens * share.split(stack.mlp_hidden)
    heads = BFLOAT16 * tokens * (share.split(stack.heads) + 2 * share.split(stack.kv_heads)) * stack.head_dim
    states = BFLOAT16 * tokens * stack.width
    bias = 2 * FLOAT32 * share.split(stack.heads) * queries * stack.keys if stack.biased else 0.0  # and its gradient
    return (
        bias
        + copies.scores * scores
        + copies.hidden * hidden
        + copies.heads * heads
        + copies.states * states
        + copies.weights * _gathered_layer(workload.tensors, stack, share)
    )


def _gathered_layer(tensors: Sequence[Tensor], stack: Stack, share: Share) -> float:
    """Returns the bytes of the bfloat16 parameters of a layer, gathered."""
    own = [tensor for tensor in tensors if tensor.stacked and tensor.path.startswith(stack.path)]
    return (
        BFLOAT16
        * sum(tensor.size / share.gathered_shards(tensor) for tensor in own)
        * share.mesh["pipeline"]
        / stack.layers
    )
