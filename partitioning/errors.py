"""Errors of meshes and rules that a user can cause and mend."""


class PartitioningError(ValueError):
    """One line that says which mesh, batch or rule does not fit, and what would."""
