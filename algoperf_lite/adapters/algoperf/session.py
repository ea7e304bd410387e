"""One run of a submission file: the calls that AlgoPerf makes, in its order and with its arguments."""

import inspect
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from algoperf_lite import errors
from algoperf_lite.adapters.algoperf import spec as ap
from algoperf_lite.adapters.algoperf.file import File
from algoperf_lite.adapters.algoperf.layout import Layout
from algoperf_lite.adapters.algoperf.scope import Scope
from algoperf_lite.adapters.algoperf.workload import Workload
from algoperf_lite.shapes import check_shapes

PyTree = Any


def step_keys(key: jax.Array) -> Callable[[int], tuple[jax.Array, ...]]:
    """(step) -> the four raw keys of a step, as upstream makes them: the step folded into a raw key, then split.

    They are not bound to a device: a file places what it makes of them.
    """
    return lambda step: _split(key, np.uint32(step))


_split = jax.jit(lambda key, step: tuple(jax.random.split(jax.random.fold_in(key, step), 4)))


class Session:
    """A freshly loaded file and all that its training changes.

    Args:
      file: what to load.
      layout: how it holds its arrays.
      workload: what it is shown of the problem.
      hyperparameters: a named tuple, or None.
      queue: batches in the layout's form, without end.
      keys: (step) -> four raw keys: for choosing data, updating, preparing an evaluation, and a fourth that upstream spends
        on evaluating; that of step 0 initialises the optimizer.

    Attributes:
      step: updates made.
      complete: whether the file has ended its training.
      params, model_state, optimizer_state: in the layout's form.
    """

    def __init__(
        self,
        file: File,
        layout: Layout,
        workload: Workload,
        hyperparameters: Any,
        queue: Iterator[PyTree],
        keys: Callable[[int], Any],
    ):
        self.file, self.layout, self.workload, self.hyperparameters = file, layout, workload, hyperparameters
        self.step, self.complete = 0, False
        self.params = self.model_state = self.optimizer_state = None
        self._queue, self._keys = queue, keys
        self._shapes, self._seconds = (None, None), 0.0
        self._stepped, self._evaluated = time.time(), 0.0  # when a step last ended, and an evaluation
        self._scope = Scope(file.path, layout.devices)
        with self._scope:
            self._module: types.ModuleType = self._scope.load()
            self._takes_train_state = "train_state" in inspect.signature(self._module.update_params).parameters

    @property
    def prepares(self) -> bool:
        """Whether the file has a `prepare_for_eval`."""
        return hasattr(self._module, "prepare_for_eval")

    def batch_size(self, *names: str) -> int | None:
        """What the file answers to the first of `names` that it knows; None where it knows none."""
        for name in names:
            try:
                with self._scope:
                    return int(self._module.get_batch_size(name))
            except Exception:  # files raise ValueError, KeyError or what they like
                continue
        return None

    def init(self, params: PyTree, model_state: PyTree) -> None:
        """`init_optimizer_state`. The trees are in the layout's form and the session's from now on."""
        self.params, self.model_state = params, model_state
        self._shapes = jax.eval_shape(lambda *trees: trees, params, model_state)
        with self._scope:
            self.optimizer_state = self._module.init_optimizer_state(
                self.workload, params, model_state, self.hyperparameters, self._keys(0)[3]
            )

    def train(self, steps: int) -> int:
        """Makes up to so many updates, and says how many; fewer where the file ends its training.

        Raises:
          ValueError: parameters or model state that changed their shapes.
        """
        first = self.step
        with self._scope:
            while self.step < first + steps and not self.complete:
                began = time.perf_counter()
                try:
                    self._update()
                except ap.TrainingCompleteError:
                    self.complete = True
                else:
                    self.step += 1
                self._seconds += time.perf_counter() - began
                self._stepped = time.time()
        self._check()
        return self.step - first

    def prepare(self) -> None:
        """`prepare_for_eval`, where the file has it: what it returns is evaluated, and trained on."""
        self._evaluated = time.time()
        if not self.prepares:
            return
        with self._scope:
            self._take("prepare_for_eval", self._module.prepare_for_eval(**self._arguments(self._keys(self.step)[2])))
        self._check()

    def plain(self) -> tuple[PyTree, PyTree]:
        """(params, model state) without the layout."""
        return self.layout.plain(self.params, self.model_state)

    def block_until_ready(self) -> "Session":
        """Waits for all arrays that the session holds."""
        leaves = jax.tree.leaves((self.params, self.model_state, self.optimizer_state))
        jax.block_until_ready([x for x in leaves if isinstance(x, jax.Array) and not x.is_deleted()])
        return self

    def _update(self) -> None:
        data_key, update_key, *_ = self._keys(self.step)
        select = getattr(self._module, "data_selection", None)
        if select is None:
            batch = next(self._queue)
        else:
            batch = select(
                self.workload,
                self._queue,
                self.optimizer_state,
                self.params,
                self.model_state,
                self.hyperparameters,
                self.step,
                data_key,
            )
        more = {"train_state": self._train_state()} if self._takes_train_state else {}
        self._take("update_params", self._module.update_params(**self._arguments(update_key), batch=batch, **more))

    def _arguments(self, rng: jax.Array) -> dict[str, Any]:
        return {
            "workload": self.workload,
            "current_param_container": self.params,
            "current_params_types": self.workload.model_params_types,
            "model_state": self.model_state,
            "hyperparameters": self.hyperparameters,
            "loss_type": self.workload.loss_type,
            "optimizer_state": self.optimizer_state,
            "eval_results": [],  # upstream hands on test metrics too
            "global_step": self.step,
            "rng": rng,
        }

    def _train_state(self) -> types.MappingProxyType:
        """What upstream lets a file see of the run. The seconds are this session's own, without waiting for the device: the
        clock's are not known here."""
        return types.MappingProxyType(
            {
                "validation_goal_reached": False,
                "test_goal_reached": False,
                "is_time_remaining": True,
                "last_eval_time": self._evaluated,
                "training_complete": self.complete,
                "accumulated_submission_time": self._seconds,
                "accumulated_eval_time": 0.0,
                "accumulated_logging_time": 0.0,
                "last_step_end_time": self._stepped,
            }
        )

    def _take(self, name: str, returned: Any) -> None:
        if not isinstance(returned, tuple | list) or len(returned) != 3:
            what = f"{len(returned)} values" if isinstance(returned, tuple | list) else type(returned).__name__
            raise TypeError(f"{name} returned {what}; needed are optimizer_state, params, model_state")
        self.optimizer_state, self.params, self.model_state = returned

    def _check(self) -> None:
        """Refuses what no longer has the shapes of the start: it would be evaluated as something else, if at all."""
        try:
            check_shapes(f"parameters after step {self.step}", self._shapes[0], self.params)
            check_shapes(f"model state after step {self.step}", self._shapes[1], self.model_state)
        except errors.UserError as e:
            raise ValueError(str(e)) from None
