"""`python -m m5jax.data.embedded_catalog` prints the catalog's directory, writing it first where it is not there."""

from m5jax.data.embedded_catalog import embedded_catalog_directory

print(embedded_catalog_directory())
