"""The small problem on which submissions are compared with their sources, in NumPy and double precision.

Nothing here needs JAX, so that the script which makes the oracles' trajectories runs beside PyTorch alone.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

Params = dict[str, np.ndarray]
SHAPES = {"w": (4, 6), "b": (4,)}


@dataclasses.dataclass(frozen=True)
class NoisyQuadratic:
    """sum(scale x^2 / 2 + noise_t x) over two tensors: convex, ill-conditioned, another linear term in every step.

    Attributes:
      start: parameters at step 0.
      scale: curvature of every coordinate.
      noise: the linear term of each step.
    """

    start: Params
    scale: Params
    noise: list[Params]

    def loss(self, params: Mapping[str, np.ndarray], step: int) -> float:
        """The step's loss."""
        terms = (self.scale[k] * x**2 / 2 + self.noise[step][k] * x for k, x in params.items())
        return float(sum(np.sum(term) for term in terms))

    def gradient(self, params: Mapping[str, np.ndarray], step: int) -> Params:
        """The step's gradient."""
        return {k: self.scale[k] * x + self.noise[step][k] for k, x in params.items()}

    def linear_parts(self, step: int, parts: int) -> Params:
        """Linear terms [parts, ...] of a batch in parts, of mean `noise[step]`; other steps' terms are their spread."""
        others = [self.noise[(step + i) % len(self.noise)] for i in range(1, parts + 1)]
        spread = {k: np.stack([terms[k] for terms in others]) for k in self.start}
        return {k: self.noise[step][k] + x - np.mean(x, axis=0) for k, x in spread.items()}

    def part_gradients(self, params: Mapping[str, np.ndarray], step: int, parts: int) -> Params:
        """Gradients [parts, ...] of the step's batch in parts; their mean is `gradient`."""
        return {k: self.scale[k] * params[k] + x for k, x in self.linear_parts(step, parts).items()}


def noisy_quadratic(
    shapes: Mapping[str, tuple[int, ...]] = SHAPES, steps: int = 80, seed: int = 0, still: tuple[str, ...] = ()
) -> NoisyQuadratic:
    """A problem drawn from `seed`; tensors in `still` have a gradient of zero in the first step."""
    rng = np.random.default_rng(seed)
    start = {k: rng.standard_normal(shape) for k, shape in shapes.items()}
    scale = {k: np.exp(rng.uniform(-1, 1, shape)) for k, shape in shapes.items()}
    noise = [{k: 0.3 * rng.standard_normal(shape) for k, shape in shapes.items()} for _ in range(steps)]
    for k in still:
        noise[0][k] = -scale[k] * start[k]
    return NoisyQuadratic(start, scale, noise)


Trajectory = list[tuple[Params, Params]]
"""(parameters, evaluation parameters) after every step, the start first; the two are the same for most methods."""


def follow(problem: NoisyQuadratic, step: Callable[[Params, Params, float, int], Params], steps: int) -> Trajectory:
    """Trajectory of `step(params, gradient, loss, t) -> params`, t from 1, evaluated where it trains."""
    params = {k: x.copy() for k, x in problem.start.items()}
    seen = [(params, params)]
    for t in range(1, steps + 1):
        params = step(params, problem.gradient(params, t - 1), problem.loss(params, t - 1), t)
        seen.append((params, params))
    return seen
