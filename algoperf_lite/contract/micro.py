"""A submission on the micro workloads: is it finite, the same on eight devices, how much memory, what does a step cost?"""

import dataclasses
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from algoperf_lite import config, engine, environment, registry, training
from algoperf_lite import mesh as meshes
from algoperf_lite.contract.checking import Failure
from algoperf_lite.contract.toy import point_of, row
from algoperf_lite.submission import Submission

STEPS = 5
DEPTH = 1  # of every model: the same kinds of parameters, sooner compiled
SPREAD = "markov_lm"  # trained on eight devices too
TIMED, BASELINE = "digits_vit", "sgd"
ONE = {"data": 1, "fsdp": 1}  # device
BLOCKS, BLOCK_STEPS = 5, 8


class Single:
    """A submission's start and its single step on a workload one layer deep, compiled for a mesh.

    At its DEFAULTS, or the middle of its SPACE.

    Args:
      hastily: compile the step for a few calls of which none is timed.
    """

    def __init__(self, entry: Submission, name: str, sizes: dict[str, int], *, hastily: bool = True):
        workload = registry.load_workload(name, depth=DEPTH)
        self.mesh, host = meshes.make(sizes), workload.load()
        self.data = meshes.put_replicated(self.mesh, {k: v for k, v in host.items() if k not in engine.SPLITS})
        point = point_of(entry)
        self.hyper, self.key = training.put_hyper(self.mesh, entry, point), training.put_key(self.mesh, 0)
        static, problem = entry.static(point), workload.problem()

        def run(function, *args):
            function = jax.jit(function, inline=True)  # traced once
            where = meshes.shardings(self.mesh, jax.eval_shape(function, *args))
            return jax.jit(function, out_shardings=where).lower(*args).compile(environment.hasty_options())(*args)

        # The same for all submissions: from the second one on the compile cache has it.
        params, model_state = run(training.initial(workload), self.key)
        with engine.blame(entry, f"init on {name}"):
            opt_state = run(training.opt_init(entry, problem, static), params, self.hyper)
        self.carry = training.Carry(params, model_state, opt_state)
        step = training.train_step(workload, entry, problem, static, self.mesh)
        arguments = (self.carry, self.hyper, self.data, self.key, self._number(0))
        with engine.blame(entry, f"update on {name}"):
            lowered = engine.lower_step(step, arguments, self.mesh)
        self._program = lowered.compile(environment.hasty_options() if hastily else None)
        self.state_size = training.tree_bytes(opt_state) / training.tree_bytes(params)

    def _number(self, step: int) -> jax.Array:
        return meshes.put_replicated(self.mesh, np.int32(step))

    def step(self, carry: training.Carry, number: int) -> tuple[training.Carry, jax.Array]:
        """(carry, loss) after one step; the carry that is given stays."""
        return self._program(carry, self.hyper, self.data, self.key, self._number(number))

    def seconds(self, first: int, steps: int) -> float:
        """Of that many steps from step `first` on, each by itself, so with the cost of a dispatch."""
        carry, begin = self.carry, time.perf_counter()
        for number in range(first, first + steps):
            carry, _ = self.step(carry, number)
        jax.block_until_ready(carry)
        return time.perf_counter() - begin


@dataclasses.dataclass(frozen=True)
class Trained:
    """What became of STEPS steps. All parameters are one row."""

    losses: np.ndarray
    start: np.ndarray
    end: np.ndarray
    state_size: float  # bytes of the optimizer's state over those of the parameters

    @classmethod
    def by(cls, single: Single, nudge: float = 0.0) -> "Trained":
        """From its start, or from parameters that are each off by that part of themselves, up or down."""
        rng = np.random.default_rng(0)

        def nudged(x):
            return jax.device_put((x * (1 + nudge * rng.choice([-1, 1], x.shape))).astype(x.dtype), x.sharding)

        carry, losses = single.carry, []
        if nudge:
            carry = carry._replace(params=jax.tree.map(nudged, carry.params))
        for number in range(STEPS):
            carry, loss = single.step(carry, number)
            losses.append(float(loss))
        return cls(np.array(losses), row(single.carry.params), row(carry.params), single.state_size)


class OnWorkloads:
    """The checks of one submission; its trainings are made when the first of them is asked for.

    Args:
      names: workloads, default those of the micro tier.
    """

    def __init__(self, entry: Submission, names: Sequence[str] | None = None):
        self._entry, self._names = entry, config.load_benchmark("micro").workloads if names is None else names

    @functools.cached_property
    def _timed(self) -> dict[str, Single]:
        """The submission and the baseline on TIMED, compiled as a board compiles them."""
        entries = {"mine": self._entry, "sgd": registry.load_submission(BASELINE)}
        with ThreadPoolExecutor(environment.usable_cores()) as pool:
            singles = pool.map(functools.partial(Single, name=TIMED, sizes=ONE, hastily=False), entries.values())
            return dict(zip(entries, singles, strict=True))

    @functools.cached_property
    def _trained(self) -> dict[str, Trained | Exception]:
        """By workload, and under `eight` that of SPREAD on eight devices."""

        def one(name: str) -> Trained | Exception:
            try:
                if name == "eight":
                    return _on_eight_devices(self._entry)
                return Trained.by(self._timed["mine"] if name == TIMED else Single(self._entry, name, ONE))
            except Exception as e:
                return e

        # Those that take longest first.
        names = ["eight", *sorted(self._names, key=lambda name: name != TIMED)]
        with ThreadPoolExecutor(environment.usable_cores()) as pool:
            return dict(zip(names, pool.map(one, names), strict=True))

    def _found(self, name: str) -> Trained:
        found = self._trained[name]
        if isinstance(found, Exception):
            raise found
        return found

    def finite(self, entry: Submission) -> str:
        """Five steps on every micro workload (models one layer deep) stay finite."""
        broken = []
        for name in self._names:
            found = self._found(name)
            if not (np.all(np.isfinite(found.losses)) and np.all(np.isfinite(found.end))):
                broken.append(f"{name} (losses {', '.join(f'{x:.3g}' for x in found.losses)})")
        if broken:
            raise Failure(f"not finite: {'; '.join(broken)}", "lower the default learning rate, or warm up")
        return ", ".join(self._names)

    def same_on_eight_devices(self, entry: Submission) -> str:
        """Eight devices train as one does."""
        one, eight = map(self._found, (SPREAD, "eight"))
        way = np.linalg.norm(one.end - one.start)
        apart = np.linalg.norm((eight.end - eight.start) - (one.end - one.start)) / max(way, 1e-30)
        # Sums in another order turn the signs of gradients that are nothing but rounding; some methods see only signs, and
        # the eigenvectors of one gradient's null space are rounding altogether.
        allowed = 0.25
        if apart > allowed:
            other = Trained.by(Single(entry, SPREAD, ONE), nudge=1e-6)
            allowed = max(allowed, 2 * np.linalg.norm((other.end - other.start) - (one.end - one.start)) / max(way, 1e-30))
        if not (apart <= allowed and np.allclose(one.losses, eight.losses, rtol=1e-2)):
            raise Failure(
                f"after {STEPS} steps on {SPREAD} they are {apart:.2g} of the way apart",
                "compute on whole arrays, the harness shards them; do not ask how many devices there are",
            )
        return f"after {STEPS} steps on {SPREAD} within {apart:.1g} of the way"

    def memory(self, entry: Submission) -> str:
        """Memory of the optimizer's state."""
        sizes = [found.state_size for name in self._names if isinstance(found := self._trained[name], Trained)]
        low, high = min(sizes), max(sizes)
        return (
            f"{low:.2f} x the parameters" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f} x the parameters"
        )

    def cost(self, entry: Submission) -> str:
        """Cost of a step over plain SGD's."""
        mine, sgd = self._timed["mine"], self._timed["sgd"]
        steps = -(-BLOCK_STEPS // entry.PERIOD) * entry.PERIOD  # whole periods of what is done every so often
        for each in (mine, sgd):
            each.seconds(0, steps)
        ratios = []
        for _ in range(BLOCKS):
            a, b, c, d = (each.seconds(0, steps) for each in (mine, sgd, sgd, mine))
            ratios.append((a + d) / (b + c))
        middle, low, high = np.median(ratios), min(ratios), max(ratios)
        return f"about {middle:.2f} x on {TIMED} ({low:.2f} to {high:.2f}); a board measures its own (P4)"


def _on_eight_devices(entry: Submission) -> Trained:
    """In a process of its own, which is told of eight fake devices."""
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    env["PYTHONPATH"] = os.pathsep.join([str(registry.ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "trained.npz"
        code = f"from {__name__} import write_trained; write_trained()"
        command = [sys.executable, "-c", code, entry.source, str(file)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise Failure((done.stderr.strip().splitlines() or ["it ended without a word"])[-1], "")
        found = np.load(file)
        return Trained(**{name: found[name] for name in found.files})


def write_trained() -> None:
    """What that process does: trains on all its eight devices and writes what became of it."""
    source, file = sys.argv[1:]
    environment.setup()
    trained = Trained.by(Single(registry.load_submission(source), SPREAD, {"data": 4, "fsdp": 2}))
    np.savez(file, **dataclasses.asdict(trained))
