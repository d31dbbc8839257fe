"""Plots of docs/scale.md: bytes and seconds by part over sizes, and scaling from 8 to 4,096 chips, all predicted.

python benchmarks/scale_plots.py
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from m5jax.configuration.plan import find_model
from partitioning import PartitioningError
from partitioning.planner import Plan, best_plans
from partitioning.slices import parse_slice

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZES = ("encoder_1500m", "encoder_10b", "encoder_100b", "encoder_decoder_100b", "decoder_405b")
GPUS, TPUS = "h200:64x8", "v5p:8x8x8"  # 512 devices each
LENGTH, ROWS = 512, 4096
COUNTS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
SLICES = {
    "H200": dict(zip(COUNTS, (f"h200:{count // 8}x8" for count in COUNTS), strict=True)),
    "TPU v5p": dict(
        zip(
            COUNTS,
            (
                f"v5p:{shape}"
                for shape in [
                    "2x2x2",
                    "2x2x4",
                    "2x4x4",
                    "4x4x4",
                    "4x4x8",
                    "4x8x8",
                    "8x8x8",
                    "8x8x16",
                    "8x16x16",
                    "16x16x16",
                ]
            ),
            strict=True,
        )
    ),
}
SCALED = ("encoder_1500m", "encoder_10b", "encoder_100b")
ROWS_A_DEVICE = 8


def best(name: str, hardware: str, rows: int) -> Plan | None:
    """Returns the best plan, None where nothing fits."""
    try:
        return best_plans(find_model(name, LENGTH).workload(), parse_slice(hardware), rows)[0]
    except PartitioningError:
        return None


def draw_parts() -> None:
    """Draws bytes a device and seconds a step by part, of each size on 512 devices."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), sharey="col")
    for row, hardware in enumerate((GPUS, TPUS)):
        plans = {name: plan for name in SIZES if (plan := best(name, hardware, ROWS))}
        memory = [vars(plan.memory) for plan in plans.values()]
        seconds = [_seconds(plan) for plan in plans.values()]
        _bars(axes[row, 0], list(plans), [{k: v / 2**30 for k, v in part.items() if k != "host"} for part in memory])
        shares = [{name: value / sum(part.values()) for name, value in part.items()} for part in seconds]
        _bars(axes[row, 1], list(plans), shares)
        axes[row, 0].set_ylabel(f"{hardware}\nGiB a device")
        axes[row, 1].set_ylabel("share of a step")
    figure.suptitle(f"Predicted for {ROWS:,} rows of {LENGTH} tokens on 512 devices")
    figure.tight_layout()
    figure.savefig(IMAGES / "scale_parts.png", dpi=110)
    plt.close(figure)


def _seconds(plan: Plan) -> dict[str, float]:
    time = plan.time
    networks = {
        f"{axis} network": time.exposed.get(axis, 0.0) for axis in ("pipeline", "data", "fsdp", "sequence", "tensor")
    }
    parts = {"products": time.products - time.recomputation, "recomputation": time.recomputation, "memory": time.memory}
    parts["pipeline bubble"] = time.bubble
    return parts | networks | {"host": time.exposed.get("host", 0.0)}


def _bars(axis: Any, names: list[str], parts: list[dict[str, float]]) -> None:
    bottom = [0.0] * len(names)
    for part in parts[0]:
        values = [values[part] for values in parts]
        if max(values) <= 0:
            continue
        axis.bar(names, values, bottom=bottom, label=part)
        bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    axis.tick_params(axis="x", rotation=20, labelsize=8)
    axis.legend(fontsize=7)


def draw_scaling() -> None:
    """Draws tokens a second of one batch on ever more devices, and of a batch that grows with them."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5))
    for (chip, slices), style in zip(SLICES.items(), ("o-", "s--"), strict=True):
        for number, name in enumerate(SCALED):
            for axis, rows_of in zip(axes, (lambda _: ROWS, lambda count: ROWS_A_DEVICE * count), strict=True):
                plans = {count: best(name, hardware, rows_of(count)) for count, hardware in slices.items()}
                found = {count: plan.rows_per_second * LENGTH / count for count, plan in plans.items() if plan}
                label = f"{name}, {chip}"
                axis.plot(list(found), list(found.values()), style, color=f"C{number}", label=label, markersize=4)
    for axis, title in zip(axes, (f"{ROWS:,} rows a step", f"{ROWS_A_DEVICE} rows a device"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="devices", ylabel="tokens/s a device", title=title)
        axis.set_xticks(COUNTS, [str(count) for count in COUNTS], fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=3, fontsize=8)
    figure.suptitle(f"Predicted scaling, rows of {LENGTH} tokens (level is ideal)")
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    figure.savefig(IMAGES / "scaling.png", dpi=110)
    plt.close(figure)


def main() -> None:
    draw_parts()
    draw_scaling()


if __name__ == "__main__":
    main()
