import dataclasses

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


def test_the_trained_part_leaves_the_rest_out_and_comes_back_in_its_place():
    model, parameters = encoder()
    trained = jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in ("query", "scale"), parameters)
    partly = dataclasses.replace(model, trained=trained)
    part = partly.trained_part(parameters)
    paths = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(part)}
    everything = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(parameters)}
    assert paths == {path for path in everything if path.endswith(("['query']", "['scale']"))}
    assert set(part) == {"embedding_norm", "final_norm", "layers", "masked_lm_head"}  # what is empty is gone
    assert partly.trained_part(model.logical_axes)["layers"]["attention"] == {
        "query": ("layers", "embed", "heads", "head_dim")
    }
    doubled = partly.with_trained(parameters, jax.tree.map(lambda leaf: 2 * leaf, part))
    assert jax.tree.structure(doubled) == jax.tree.structure(parameters)

    def check(path, before, after, own):
        assert after is before if not own else np.array_equal(after, 2 * before), path

    jax.tree_util.tree_map_with_path(check, parameters, doubled, trained)


def test_without_a_choice_all_is_trained_and_with_none_nothing():
    model, parameters = encoder()
    assert model.trained_part(parameters) is parameters
    nothing = dataclasses.replace(model, trained=jax.tree.map(lambda _: False, parameters))
    assert nothing.trained_part(parameters) == {}
    same = jax.tree.map(lambda left, right: left is right, nothing.with_trained(parameters, {}), parameters)
    assert jax.tree.all(same)
