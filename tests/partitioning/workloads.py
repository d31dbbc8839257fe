"""Workloads that tests plan: the embedding, norms and layers of an encoder, without a model."""

from partitioning.workload import Head, Stack, Tensor, Workload


def encoder_workload(
    layers: int = 24, width: int = 2048, heads: int = 16, hidden: int = 5632, vocab: int = 32_768, length: int = 512
) -> Workload:
    size = width // heads
    stack = Stack("layers", layers, width, heads, heads, size, hidden, length, length)
    projection = ("layers", "embed", "heads", "head_dim")
    tensors = [Tensor("embedding", (vocab, width), ("vocab", "embed")), Tensor("final_norm", (width,), ("embed",))]
    tensors += [
        Tensor(f"layers/{name}", (layers, width, heads, size), projection) for name in ("query", "key", "value")
    ]
    tensors += [
        Tensor("layers/output", (layers, heads, size, width), ("layers", "heads", "head_dim", "embed")),
        Tensor("layers/up", (layers, width, hidden), ("layers", "embed", "mlp")),
        Tensor("layers/gate", (layers, width, hidden), ("layers", "embed", "mlp")),
        Tensor("layers/down", (layers, hidden, width), ("layers", "mlp", "embed")),
    ]
    return Workload((stack,), Head(width, vocab, round(0.15 * length), dense=True), tuple(tensors))
