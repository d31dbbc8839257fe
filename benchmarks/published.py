"""Runs that others published, predicted by the cost model: how far it is off, and what the planner would do instead.

    python benchmarks/published.py

Nothing is measured here. Utilization is of the products that a model needs, without those made again. All batches are
taken in one part, or as micro-batches of one row through a pipeline, and gradients are summed once a step, as by these
runs. Of the catalog's runs the rows a step and what was recomputed are not known, and assumed.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import environment
from benchmarks.scale import write_page
from m5jax.configuration.planned_model import describe_workload
from m5jax.evaluation.tables import MISSING, format_table
from m5jax.models import DecoderConfig, EncoderConfig
from partitioning.layout import Layout
from partitioning.mesh import MeshConfig
from partitioning.planner import Plan, best_plans, make_plan
from partitioning.slices import parse_slice
from partitioning.time_model import step_time
from partitioning.workload import Workload

RESULT = Path(__file__).resolve().parent / "results" / "published.json"
MEGATRON = "arXiv 2104.04473, table 1"
MAXTEXT = "MaxText, src/maxtext/configs/tpu/v5e/README.md and scripts beside it"
CATALOG = "pre-training of catalog encoders, 16 nodes of 8 A100-40GB"
PLANNED = ("planned", "planned_on_h200")
HEADERS = ("run", "hardware", "rows/s", "of peak", "by 6 N", "predicted", "ratio", "planned", "on h200:16x8")


@dataclasses.dataclass(frozen=True)
class Published:
    """One run.

    Attributes:
      rows: a step.
      measured: rows a second.
      fused: whether its attention moved no scores through memory.
      rows_assumed: whether `rows` is not published.
    """

    name: str
    source: str
    config: EncoderConfig | DecoderConfig
    hardware: str
    length: int
    rows: int
    layout: Layout
    measured: float
    fused: bool
    rows_assumed: bool = False

    def workload(self, fused: bool | None) -> Workload:
        """Returns what a row costs, with that kind of attention; None: the platform's own here."""
        predicted = self.length if isinstance(self.config, DecoderConfig) else round(0.15 * self.length)
        described = describe_workload(self.config, self.length, predicted)
        stacks = tuple(dataclasses.replace(stack, fused=fused) for stack in described.stacks)
        return dataclasses.replace(described, stacks=stacks)

    def predicted(self) -> Plan:
        """Returns what the cost model says of the run's own layout."""
        workload, slice_ = self.workload(self.fused), parse_slice(self.hardware)
        plan = make_plan(workload, slice_, self.rows, self.layout)
        return dataclasses.replace(plan, time=step_time(workload, self.layout, slice_, self.rows, summed_once=True))

    def planned(self, hardware: str) -> Plan:
        """Returns what the planner would choose for as many rows a step."""
        return best_plans(self.workload(None), parse_slice(hardware), self.rows)[0]


def catalog(billions: float, length: int, rows: int, layout: Layout, measured: float) -> Published:
    """Returns a run of `encoder_1500m` or `encoder_10b`."""
    shape = {"width": 1792, "layers": 28, "heads": 14, "mlp_hidden": 4480}
    if billions > 2:
        shape = {"width": 4096, "layers": 48, "heads": 32, "mlp_hidden": 9728}
    config = EncoderConfig(vocab_size=256_000, **shape)
    name = f"catalog {billions}B, {length} tokens"
    return Published(name, CATALOG, config, "a100-40gb:16x8", length, rows, layout, measured, False, rows_assumed=True)


def megatron(
    name: str, shape: tuple[int, int, int], mesh: tuple[int, int], gpus: int, rows: int, teraflops: float
) -> Published:
    """Returns a row of Megatron-LM's table, of a GPT with 51,200 pieces and 2,048 tokens.

    Args:
      name: parameters.
      shape: width, heads and layers.
      mesh: devices that split a layer's tensors, and stages.
      gpus: of all.
      rows: a step.
      teraflops: a second and GPU.
    """
    width, heads, layers = shape
    # A gated MLP of 8/3 width has the products of one of 4 width that is not.
    config = DecoderConfig(
        vocab_size=51_200, width=width, heads=heads, layers=layers, mlp_hidden=width * 8 // 3, max_length=2048
    )
    # Theirs count what is made again (section 5.1, equation 2).
    flops = 96 * 2048 * layers * width**2 * (1 + 2048 / (6 * width) + 51_200 / (16 * layers * width))
    tensor, pipeline = mesh
    data = gpus // tensor // pipeline
    parts = rows // data if pipeline > 1 else 1
    layout = Layout(MeshConfig(data, 1, tensor, pipeline=pipeline), 1, ("full",), chunk=2048, microbatches=parts)
    measured, hardware = teraflops * 1e12 * gpus / flops, f"a100:{gpus // 8}x8"
    return Published(f"Megatron-LM {name}", MEGATRON, config, hardware, 2048, rows, layout, measured, False)


def maxtext(name: str, shape: tuple[int, int, int, int], rows: int, share: float) -> Published:
    """Returns a row of MaxText's table: width, heads, layers and hidden units, rows a device, share of the peak."""
    width, heads, layers, hidden = shape
    config = DecoderConfig(
        vocab_size=32_000, width=width, heads=heads, head_dim=128, layers=layers, mlp_hidden=hidden, max_length=2048
    )
    layout = Layout(MeshConfig(1, 256, 1), 1, ("full",), chunk=2048)
    run = Published(f"MaxText {name}", MAXTEXT, config, "v5e:16x16", 2048, rows * 256, layout, 0.0, True)
    return dataclasses.replace(run, measured=share * 197e12 * 256 / run.workload(True).flops)


RUNS = (
    catalog(1.5, 128, 4096, Layout(MeshConfig(128, 1, 1), 1, ("none",), chunk=19), 12_300),
    catalog(1.5, 512, 2048, Layout(MeshConfig(128, 1, 1), 1, ("dots",), chunk=77), 4_703),
    catalog(10, 128, 4096, Layout(MeshConfig(1, 128, 1), 1, ("full",), chunk=19), 1_688),
    catalog(10, 512, 768, Layout(MeshConfig(1, 128, 1), 1, ("full",), chunk=77), 345),
    megatron("1.7B", (2304, 24, 24), (1, 1), 32, 512, 137),
    megatron("3.6B", (3072, 32, 30), (2, 1), 64, 512, 138),
    megatron("7.5B", (4096, 32, 36), (4, 1), 128, 512, 142),
    megatron("18.4B", (6144, 48, 40), (8, 1), 256, 1024, 135),
    megatron("39.1B", (8192, 64, 48), (8, 2), 512, 1536, 138),
    megatron("76.1B", (10_240, 80, 60), (8, 4), 1024, 1792, 140),
    megatron("145.6B", (12_288, 96, 80), (8, 8), 1536, 2304, 148),
    megatron("310.1B", (16_384, 128, 96), (8, 16), 1920, 2160, 155),
    megatron("529.6B", (20_480, 128, 105), (8, 35), 2520, 2520, 163),
    megatron("1008.0B", (25_600, 160, 128), (8, 64), 3072, 3072, 163),
    maxtext("16B", (4096, 64, 32, 28_672), 6, 0.6110),
    maxtext("32B", (8192, 64, 32, 28_672), 4, 0.6686),
    maxtext("64B", (8192, 128, 32, 57_344), 2, 0.5990),
)


def describe(run: Published) -> dict[str, Any]:
    """Returns the figures of a run."""
    plan, workload = run.predicted(), run.workload(run.fused)
    peak = plan.slice_.chip.peak["bfloat16"] * plan.slice_.size
    described = {
        "run": run.name,
        "source": run.source,
        "hardware": run.hardware,
        "rows": run.rows,
        "rows_assumed": run.rows_assumed,
        "parameters": workload.parameters,
        "measured_rows_per_second": run.measured,
        "measured_utilization": run.measured * workload.flops / peak,
        "measured_utilization_by_6_n_tokens": run.measured * 6 * workload.parameters * run.length / peak,
        "predicted_rows_per_second": plan.rows_per_second,
        "ratio": plan.rows_per_second / run.measured,
        "seconds": {
            "products": plan.time.products,
            "memory": plan.time.memory,
            "bubble": plan.time.bubble,
            **plan.time.exposed,
        },
    }
    if run.source == CATALOG:
        for key, hardware in zip(PLANNED, (run.hardware, "h200:16x8"), strict=True):
            best = run.planned(hardware)
            layout = {"mesh": best.layout.mesh.sizes, "parts": best.layout.accumulation, "remat": best.layout.remat}
            described[key] = {"rows_per_second": best.rows_per_second, **layout}
    return described


def main() -> None:
    runs = [describe(run) for run in RUNS]
    result = {"environment": environment(), "runs": runs}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    rows = [
        [
            run["run"],
            run["hardware"],
            f"{run['measured_rows_per_second']:,.0f}",
            f"{run['measured_utilization']:.0%}",
            f"{run['measured_utilization_by_6_n_tokens']:.0%}",
            f"{run['predicted_rows_per_second']:,.0f}",
            f"{run['ratio']:.2f}",
            *(f"{run[key]['rows_per_second']:,.0f}" if key in run else MISSING for key in PLANNED),
        ]
        for run in runs
    ]
    table = format_table(HEADERS, rows, ["left", "left", *["right"] * 7])
    print(table)
    write_page("published", table)


if __name__ == "__main__":
    main()
