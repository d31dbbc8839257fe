"""`m5jax plan`: what a run needs, how long it takes, and how to lay it out."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import positive, positive_number
from partitioning.layout import OPTIMIZERS

DESCRIPTION = """Plans a training run for hardware that need not be here.

  m5jax plan --model=encoder_decoder_100b --hardware=v5p:8x8x8 --length=512 --global-batch=2048
  m5jax plan --model=encoder_1500m --hardware=h100:16x8 --tokens=250e9 --within=2d --output=plan.gin
  m5jax plan --model=encoder_10b --hardware=h200:8x8 --verify
  m5jax plan --model=encoder_1500m --hardware=h100:1x8 --show-rules

Prints the fastest layouts that fit: devices along each mesh axis, parts a batch is computed in, what the backward pass
recomputes, GiB a device, seconds a step, and what limits it. All of it is predicted; --verify compiles the best plans
for the real topology, with XLA's own compilers and without a device, and prints the compiler's bytes beside those
predicted (pip install 'm5jax[plan]').

Hardware: CHIP:SHAPE. GPUs: nodes x devices of each (h100:16x8, a100-40gb:8, h200:4x8). TPUs: the sides of the slice
(v5p:8x8x8, v5e:16x16, v6e:8x8), and *N for N slices (v5e:16x16*2).
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "plan",
        help="what a model needs, how long it takes, how to lay it out",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, help="a name of gin_configs/models, or a gin file that binds one")
    parser.add_argument("--hardware", required=True, help="CHIP:SHAPE, as above")
    parser.add_argument("--length", type=positive, default=512, help="tokens a row (default: %(default)s)")
    parser.add_argument("--global-batch", type=positive, default=2048, help="rows a step (default: %(default)s)")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="default: the faster, AdamW if alike")
    parser.add_argument("--tokens", type=positive_number, help="to train on: prints days and accelerator-hours")
    parser.add_argument("--within", help="how long that may take (36h, 2d): prints the smallest slice on which it does")
    parser.add_argument("--price", type=positive_number, help="of an accelerator-hour: prints what the tokens cost")
    parser.add_argument("--top", type=positive, default=5, help="plans to print (default: %(default)s)")
    parser.add_argument(
        "--verify", nargs="?", type=positive, const=1, metavar="N", help="compile the best plan, or the N best"
    )
    parser.add_argument("--limits", action="store_true", help="print the smallest slice, largest batch, longest rows")
    parser.add_argument("--show-rules", action="store_true", help="print where each parameter of the best plan lives")
    parser.add_argument("--output", type=Path, help="gin file to write the best plan to, for m5jax train")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import jax

    # Of this machine's devices none is needed, and a first look at them can take a while.
    jax.config.update("jax_platforms", "cpu")
    from m5jax.configuration.plan import (
        Budget,
        budget_text,
        find_model,
        limits_text,
        parse_duration,
        parts_text,
        plan_gin,
        plans_table,
        rules_table,
        verify_plans,
        within_text,
    )
    from m5jax.errors import UserError
    from partitioning.planner import best_plans
    from partitioning.slices import parse_slice

    if arguments.output is not None and (arguments.output.exists() or not arguments.output.parent.is_dir()):
        reason = "exists" if arguments.output.exists() else f"cannot be: there is no {arguments.output.parent}"
        raise UserError(f"{arguments.output} {reason}; choose another --output")
    for flag in ("within", "price"):
        if getattr(arguments, flag) is not None and arguments.tokens is None:
            raise UserError(f"--{flag} needs --tokens, the tokens to train on")
    within = None if arguments.within is None else parse_duration(arguments.within)
    slice_ = parse_slice(arguments.hardware)
    model = find_model(arguments.model, arguments.length)
    workload, optimizers = model.workload(), (arguments.optimizer,) if arguments.optimizer else OPTIMIZERS
    plans = best_plans(workload, slice_, arguments.global_batch, optimizers)
    best = plans[0]
    print(f"{model.name}, {workload.parameters / 1e9:.3g}B parameters, on {slice_.name}, {slice_.size} devices:")
    print(f"{arguments.global_batch:,} rows of {workload.tokens:,.0f} tokens a step, predicted\n")
    print(plans_table(plans[: arguments.top], workload), parts_text(best), sep="\n\n")
    if arguments.tokens is not None:
        budget = Budget(arguments.tokens, within, arguments.price)
        print(budget_text(best, workload, budget))
        if within is not None:
            print(within_text(workload, best, budget, optimizers))
    if arguments.limits:
        print(limits_text(model, workload, slice_, arguments.global_batch, optimizers))
    if arguments.show_rules:
        print("", rules_table(workload, best.layout), sep="\n")
    if arguments.output is not None:
        arguments.output.write_text(plan_gin(model, best), encoding="utf-8")
        print(f"written: {arguments.output}")
    if arguments.verify:
        print("", verify_plans(model, plans[: arguments.verify]), sep="\n")
    return 0
