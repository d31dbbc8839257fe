"""m5jax: semantic representations of a product catalog, pre-trained, fine-tuned, distilled and served with JAX."""
