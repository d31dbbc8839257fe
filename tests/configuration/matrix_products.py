"""FLOPs of the matrix products of a traced program, counted apart from the models' own counts."""

import math
from typing import Any


def count_flops(jaxpr: Any) -> float:
    """Returns two for each multiplication; bodies of scans count as often as they run, of branches the largest."""
    total = 0.0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
        elif name == "scan":
            total += parameters["length"] * count_flops(parameters["jaxpr"].jaxpr)
        elif name == "cond":
            total += max(count_flops(branch.jaxpr) for branch in parameters["branches"])
        else:
            inner = (parameters.get(key) for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"))
            total += sum(count_flops(getattr(body, "jaxpr", body)) for body in inner if body is not None)
    return total
