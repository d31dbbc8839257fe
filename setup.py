"""Packaging of m5jax. Locked versions for reproducible installs: requirements.lock (see CONTRIBUTING.md)."""

from pathlib import Path

from setuptools import find_packages, setup

# Python 3.11 ends at jax 0.10 and flax 0.12.8; jax 0.11 needs flax >= 0.12.10 (earlier ones fail on `import flax.nnx`).
ACCELERATED = [
    "jax>=0.10.2,<0.11; python_version < '3.12'",
    "jax>=0.11.1,<0.13; python_version >= '3.12'",
    "flax>=0.12.8,<0.13; python_version < '3.12'",
    "flax>=0.12.10,<0.13; python_version >= '3.12'",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8,<0.13",
    "jaxtyping>=0.3.9",
    "matplotlib>=3.10",  # the report's curves; imported when a report is written
    "numpy>=2.1",
    "scipy>=1.14",
    "tabulate>=0.10",
    "tensorboardX>=2.6.4",  # writes event files without TensorFlow
    "tqdm>=4.67",
]
# sentencepiece 0.2.3 fails at import beside the protobuf that Apache Beam pins.
DATA = [
    "array_record>=0.8.6",
    "gin-config>=0.5.0",
    "grain>=0.2.18",  # reads materialised rows without TensorFlow
    "importlib_resources>=6",  # tensorflow-datasets reads with it and does not ask for it
    "pyarrow>=20",
    "pyyaml>=6",  # job files of Kubernetes
    "scikit-learn>=1.6",  # metric functions of tasks
    "sentencepiece==0.2.2",
    "seqio>=0.0.20",
    "tensorflow>=2.21,<2.22",
    "tensorflow-datasets>=4.9.9",
    "tensorflow-text>=2.21,<2.22",
    "zstandard>=0.23",
]
# Fine-tuning, its evaluation, and the search of its settings.
FINE_TUNING = [
    "bm25s>=0.3",  # the lexical baseline and negatives; released every few weeks, of NumPy and SciPy alone
    "faiss-cpu>=1.12",  # hard negatives and approximate search
    "optuna>=4.5",  # m5jax tune
]
STUDIES = ["pandas>=2.2"]  # tables of m5jax study
# m5jax data prepare and cache; the one package forces an older protobuf and Arrow on the others.
PREPARATION = [
    "apache-beam[tfrecord]>=2.77",
    "datasketch>=1.6",
    "lingua-language-detector>=2.1",
]
# m5jax study mlflow; sqlalchemy and alembic, for databases, come with Optuna.
MLFLOW = ["mlflow-skinny>=3.10"]
# What the notebooks need, and what runs them.
NOTEBOOKS = ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10", "plotly>=6"]
TESTING = [
    *PREPARATION,
    *MLFLOW,
    *NOTEBOOKS,
    "beartype>=0.22",
    "hypothesis>=6.100",
    "markdown-it-py>=3",  # reads the reports in Markdown as GitHub does
    "pytest>=8",
    "pytest-xdist>=3.6",
    "pytrec-eval-terrier>=0.5",  # what metrics of search and of slots are compared with
    "seqeval>=1.2",
]
LINTING = ["mypy>=1.15", "ruff>=0.12", "types-pyyaml", "types-tqdm"]
EXTRAS = {
    "gpu": ["jax[cuda13]"],
    "tpu": ["jax[tpu]"],
    # m5jax plan --verify: the compilers for TPUs and NVIDIA GPUs, without what runs there.
    "plan": ["jax[tpu,cuda12-local]"],
    # m5jax evaluate --baseline=FOLDER
    "sentence-transformers": ["sentence-transformers>=5"],
    "mlflow": MLFLOW,
    "notebooks": [*NOTEBOOKS, "jupyterlab>=4"],
    "huggingface": ["safetensors>=0.5", "torch>=2.6", "transformers>=5.0"],
    "prepare": PREPARATION,
    "test": TESTING,
    "dev": [*TESTING, *LINTING, "uv"],
}

setup(
    name="m5jax",
    version="0.1.0",
    description="Semantic representations of a product catalog, pre-trained and served with JAX",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["m5jax", "m5jax.*", "partitioning", "partitioning.*", "tasks", "tasks.*"]),
    package_data={"m5jax": ["py.typed"]},
    install_requires=[*ACCELERATED, *DATA, *FINE_TUNING, *STUDIES],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["m5jax = m5jax.cli.main:main"]},
)
