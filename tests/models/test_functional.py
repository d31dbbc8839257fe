import jax
import numpy as np

from tests.models.tiny import encoder, row_of, segments_of


def test_parameters_are_a_pure_dict_with_an_axis_name_a_dimension():
    model, parameters = encoder()
    assert isinstance(parameters, dict)
    shapes = jax.tree.map(lambda leaf: leaf.shape, parameters)
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, model.abstract_parameters)
    jax.tree.map(lambda leaf, axes: np.testing.assert_equal(len(axes), leaf.ndim), parameters, model.logical_axes)
    assert model.logical_axes["layers"]["attention"]["query"] == ("layers", "embed", "heads", "head_dim")
    assert model.parameter_count == sum(leaf.size for leaf in jax.tree.leaves(parameters))


def test_binding_does_not_share_state_between_modules():
    model, parameters = encoder()
    row = row_of(segments_of([5]), 8)

    def states(parameters):
        first = model.bind(parameters)
        before = first(*row)
        model.bind(jax.tree.map(lambda leaf: 2 * leaf, parameters))
        return before, first(*row)

    before, after = jax.jit(states)(parameters)
    np.testing.assert_array_equal(before, after)


def test_the_same_key_draws_the_same_parameters():
    model, _ = encoder()
    init = jax.jit(model.init)
    draws = [init(jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0]["embedding"], draws[1]["embedding"])
    assert not np.allclose(draws[0]["embedding"], draws[2]["embedding"])
