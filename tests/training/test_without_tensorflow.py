"""A node without TensorFlow, SeqIO and gin trains on rows that were written down, and evaluates beside them."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

LENGTH, ROWS = 64, 24

NODE = '''
import json
import sys
from pathlib import Path

BLOCKED = {"tensorflow", "tensorflow_datasets", "tensorflow_text", "seqio", "gin"}


class Without:
    """Finds no blocked module, as where it is not installed: libraries ask for them too."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
directory, length, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

from m5jax.data.held_out_rows import read_held_out
from m5jax.data.materialized import MaterializedBatches, read_rows
from m5jax.evaluation.evaluator import make_evaluate
from m5jax.evaluation.held_out import WrittenHeldOut, held_out_batches, language_results
from m5jax.models import EncoderConfig, FunctionalModel
from m5jax.objectives import LanguageModel
from m5jax.training.loop import TrainerConfig, Training, train
from m5jax.training.optimizers import AdamW
from m5jax.training.schedules import InverseSquareRoot
from partitioning import MeshConfig, make_mesh

mesh = make_mesh(MeshConfig())
model = FunctionalModel.from_config(
    EncoderConfig(vocab_size=size, width=16, layers=1, heads=2, mlp_hidden=32, max_length=length)
)
held_out = WrittenHeldOut(read_held_out(directory / "rows"))
result = train(
    Training(
        run_dir=directory / "run",
        model=model,
        objective=LanguageModel(),
        optimizer=AdamW(InverseSquareRoot(peak=3e-3, warmup_steps=5)),
        mesh=mesh,
        config=TrainerConfig(steps=3),
        batches=MaterializedBatches(read_rows(directory / "rows"), batch_size=8),
        batch_size=8,
        evaluate=make_evaluate(model, LanguageModel(), mesh, held_out_batches(held_out, mesh, 8)),
        flops_per_token=1.0,
    )
)
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
languages = {label: vars(own) for label, own in language_results(held_out, result.evaluation).items()}
print(json.dumps({"step": result.step, "languages": languages}))
'''


def test_training_and_evaluation_need_no_data_libraries(tmp_path: Path) -> None:
    import tasks  # noqa: F401  registers the tasks
    from m5jax.data.embedded_catalog.corpus import embedded_catalog_vocabulary
    from m5jax.data.evaluation_batches import evaluation_tasks
    from m5jax.data.materialized import write_rows
    from m5jax.data.pipeline import training_batches
    from m5jax.data.vocabulary import set_current_vocabulary
    from m5jax.evaluation.live_held_out import LiveHeldOut

    size = set_current_vocabulary(embedded_catalog_vocabulary()).size
    held_out = LiveHeldOut(evaluation_tasks("embedded_catalog_mlm"), LENGTH, 0, max_examples=40)
    batches = training_batches("embedded_catalog_mlm", length=LENGTH, batch_size=8, seed=0)
    write_rows(batches, ROWS, tmp_path / "rows", {}, held_out.rows(), {})
    done = subprocess.run(
        [sys.executable, "-c", NODE, str(tmp_path), str(LENGTH), str(size)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["step"] == 3
    assert found["languages"].keys() == {"ar", "de", "en"}
    for result in found["languages"].values():
        assert math.log(size) / 2 < result["loss"] < math.log(size) * 1.5
        assert 0 < result["unigram_accuracy"] < 1
