"""What is planned with is the traced step's own: FLOPs of matrix products, made again or not, and kept activations."""

import dataclasses
import math

import jax
import pytest

from m5jax.configuration.plan import find_model
from m5jax.configuration.planned_model import PlannedModel
from m5jax.models import EncoderDecoderConfig, FunctionalModel
from m5jax.models.stack import REMAT_POLICIES
from m5jax.objectives import LanguageModel, SequenceToSequence
from partitioning.layout import Layout
from partitioning.memory_model import kept_activations
from partitioning.mesh import MeshConfig
from partitioning.shares import Share
from tests.configuration.matrix_products import count_flops
from tests.configuration.test_model_sizes import FAMILY

ROWS = 2


def traced_flops(planned: PlannedModel, remat: tuple[str, ...], chunk: int) -> float:
    config = dataclasses.replace(planned.config, remat=remat)
    model = FunctionalModel.from_config(config)
    writes = isinstance(config, EncoderDecoderConfig)
    objective = SequenceToSequence(chunk_length=chunk) if writes else LanguageModel(chunk_length=chunk)
    batch = {name: jax.ShapeDtypeStruct(*array) for name, array in planned.batch(ROWS).items()}

    def loss(parameters, batch):
        return objective(model.bind(parameters), batch, None)[0].total

    return count_flops(jax.make_jaxpr(jax.grad(loss))(model.abstract_parameters, batch).jaxpr)


@pytest.mark.parametrize("name", [f"{kind}_{size}" for kind, sizes in FAMILY.items() for size in sizes])
def test_planned_flops_are_those_of_the_traced_step(name):
    planned = find_model(name, 512)
    workload = planned.workload()
    stated = ROWS * (workload.flops + workload.recomputed_flops(("full",)))
    assert traced_flops(planned, ("full",), chunk=planned.predicted) == pytest.approx(stated, rel=1e-3)


@pytest.mark.parametrize("remat", [*((name,) for name in REMAT_POLICIES), ("none", "full")], ids="+".join)
@pytest.mark.parametrize("name", ["encoder_500m", "encoder_decoder_500m", "decoder_1b"])
def test_each_policy_makes_again_what_it_is_planned_to(name, remat):
    planned = find_model(name, 128)
    workload = planned.workload()
    stated = ROWS * (workload.flops + workload.recomputed_flops(remat))
    assert traced_flops(planned, remat, chunk=planned.predicted) == pytest.approx(stated, rel=1e-3)


def traced_activations(planned: PlannedModel, remat: tuple[str, ...]) -> int:
    """Returns the bytes of all that waits for the backward pass of layers and is no parameter."""
    model = FunctionalModel.from_config(dataclasses.replace(planned.config, dtype="bfloat16", remat=remat))
    writes = isinstance(planned.config, EncoderDecoderConfig)
    chunk = planned.predicted
    objective = SequenceToSequence(chunk_length=chunk) if writes else LanguageModel(chunk_length=chunk)
    batch = {name: jax.ShapeDtypeStruct(*array) for name, array in planned.batch(ROWS).items()}

    def waiting(parameters, batch):
        return jax.vjp(lambda own: objective(model.bind(own), batch, None)[0].total, parameters)[1]

    parameters = {leaf.shape for leaf in jax.tree.leaves(model.abstract_parameters)}
    layers = {stack.layers for stack in planned.workload().stacks}
    leaves = jax.tree.leaves(jax.eval_shape(waiting, model.abstract_parameters, batch))
    kept = [leaf for leaf in leaves if leaf.ndim > 1 and leaf.shape[0] in layers and leaf.shape not in parameters]
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in kept)


@pytest.mark.parametrize("remat", ["none", "dots", "attention_saved", "full"])
@pytest.mark.parametrize("name", ["encoder_500m", "encoder_decoder_500m", "decoder_1b"])
def test_kept_activations_are_those_of_the_traced_step(name, remat):
    planned = find_model(name, 256)
    layout = Layout(MeshConfig(1, 1, 1), remat=(remat,))
    stated = sum(kept_activations(stack, layout, Share.of(layout, ROWS)) for stack in planned.workload().stacks)
    assert traced_activations(planned, (remat,)) == pytest.approx(stated, rel=0.01)
