"""The surroundings that a submission file expects, there only while it is loaded or runs, and gone afterwards.

Inside `with Scope(...)`: the modules `algoperf` and `algorithmic_efficiency`, stand-ins for packages that files import but
hardly use, functions that later versions of JAX dropped, the file's own modules, JAX's devices cut down to those of the
run, and what the file has set in `jax.config` and `os.environ`. Nothing of it is seen by other code of the process.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import os
import pathlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax.contrib  # noqa: F401  (all of optax before a file's import of it could bind stand-ins)

from algoperf_lite.adapters.algoperf import locate, sharding, spec
from algoperf_lite.adapters.algoperf.locate import PACKAGES

STAND_INS = ("chex", "jraph", "torch", "torch.optim", "torch.optim.lr_scheduler")
"""What files import for annotations, or to not use it at all; an installed package is never covered."""

MODULES: dict[str, Mapping[str, Any]] = {
    "spec": vars(spec),
    "jax_sharding_utils": vars(sharding),
    "random_utils": {"fold_in": jax.random.fold_in, "split": jax.random.split, "PRNGKey": jax.random.PRNGKey},
}

_numbers = itertools.count()


class Scope:
    """A context manager, one per loaded file; may be entered again and again.

    Args:
      path: the submission file.
      devices: what `jax.devices()` and its kin show inside.
    """

    def __init__(self, path: pathlib.Path, devices: Sequence[Any]):
        self.path, self.devices = path.absolute(), list(devices)
        self._given = _given_modules()
        self._own: dict[str, types.ModuleType] = {}  # the file's modules, kept between entries
        self._settings: dict[str, Any] = {}  # what it has set in jax.config
        self._variables: dict[str, str | None] = {}  # and in os.environ while it was imported; None for what it removed
        self._outside: dict[str, str | None] = {}  # what these variables are outside
        self._package = f"_algoperf_lite_file_{next(_numbers)}"
        self._finder = _Finder(self.path.parent)
        self._stack = contextlib.ExitStack()

    def load(self) -> types.ModuleType:
        """Executes the file afresh, as a member of a package whose other members lie beside it. Only inside."""
        folder, before = self.path.parent, dict(os.environ)
        init = folder / "__init__.py"
        try:
            _execute(self._package, None, [str(folder.parent)])
            _execute(f"{self._package}.here", init if init.is_file() else None, [str(folder)])
            return _execute(f"{self._package}.here.{self.path.stem}", self.path)
        finally:
            names = {name for name in {*os.environ, *before} if os.environ.get(name) != before.get(name)}
            self._variables = {name: os.environ.get(name) for name in names}
            self._outside = {name: before.get(name) for name in names}

    def __enter__(self) -> "Scope":
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", "Some donated buffers were not usable")  # several files donate in vain
            stack.enter_context(self._modules())
            stack.enter_context(self._configuration())
            for owner, name, value in _patches(self.devices):
                stack.enter_context(_patched(owner, name, value))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _modules(self) -> Iterator[None]:
        hidden: dict[str, types.ModuleType] = {}
        if any(name in sys.modules for name in (*PACKAGES, *self._given)):
            hidden = {n: m for n, m in sys.modules.items() if n in self._given or n.split(".")[0] in PACKAGES}
            for name in hidden:
                del sys.modules[name]
        sys.modules.update({**self._given, **self._own})
        sys.meta_path.append(self._finder)
        count = len(sys.modules)
        try:
            yield
        finally:
            sys.meta_path.remove(self._finder)
            if len(sys.modules) != count:
                self._adopt()
            for name in (*self._given, *self._own):
                sys.modules.pop(name, None)
            sys.modules.update(hidden)

    @contextlib.contextmanager
    def _configuration(self) -> Iterator[None]:
        """A file may change how all of JAX computes, such as `jax_enable_x64`: for itself alone."""
        before = jax.config.values
        _configure(self._settings, self._variables)
        try:
            yield
        finally:
            self._settings = {name: value for name, value in jax.config.values.items() if value != before.get(name, value)}
            _configure({name: before[name] for name in self._settings}, self._outside)

    def _adopt(self) -> None:
        """Notes the modules that were imported for the file alone."""
        roots = (self._package, *PACKAGES, *self._finder.found)
        for name, module in list(sys.modules.items()):
            if name not in self._given and any(name == root or name.startswith(f"{root}.") for root in roots):
                self._own[name] = module
                parent, _, child = name.rpartition(".")
                if parent in locate.ROOTS and getattr(sys.modules.get(parent), child, None) is module:
                    delattr(sys.modules[parent], child)  # a package of the same name that is not the file's


def _configure(settings: dict[str, Any], variables: dict[str, str | None]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


# ------------------------------------------------------------------------------------------------------ modules


def _execute(name: str, file: pathlib.Path | None, search: list[str] | None = None) -> types.ModuleType:
    """Runs a module of a file, or makes an empty package that looks for its members in `search`."""
    if file is None:
        found = _package(name, search or [])
    else:
        found = importlib.util.spec_from_file_location(name, file, submodule_search_locations=search)
        if found is None:
            raise ImportError(f"{file} is no Python file")
    sys.modules[name] = module = importlib.util.module_from_spec(found)
    if found.loader is not None:
        found.loader.exec_module(module)
    return module


def _package(name: str, search: list[str]) -> importlib.machinery.ModuleSpec:
    found = importlib.machinery.ModuleSpec(name, None, is_package=True)
    found.submodule_search_locations = search
    return found


class _StandIn(types.ModuleType):
    """A module whose every attribute is a class that serves in annotations and cannot be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing(f"{self.__name__}.{name}")


def _nothing(name: str) -> type:
    def refuse(*_: Any, **__: Any) -> Any:
        if name.split(".")[0] in PACKAGES:
            raise ImportError(f"{name} is used; of AlgoPerf's modules there are {', '.join(MODULES)}")
        raise ImportError(f"{name} is used, and the package {name.split('.')[0]} is not installed")

    return type(name, (), {"__new__": refuse, "__class_getitem__": classmethod(lambda cls, item: cls)})


def _given_modules() -> dict[str, types.ModuleType]:
    """AlgoPerf's packages, and stand-ins for what is not installed."""
    found: dict[str, types.ModuleType] = {}

    def put(name: str, module: types.ModuleType) -> None:
        found[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(found[parent], child, module)

    modules = {name: types.ModuleType(name) for name in MODULES}  # a file may change them: every scope has its own
    for name, module in modules.items():
        vars(module).update(MODULES[name])
    for name in PACKAGES:
        put(name, importlib.util.module_from_spec(_package(name, [])))
        for child, module in modules.items():
            put(f"{name}.{child}", module)
    for name in STAND_INS:
        top = name.split(".")[0]
        if top in found or (top not in sys.modules and importlib.machinery.PathFinder.find_spec(top) is None):
            module = _StandIn(name)
            module.__spec__, module.__path__ = _package(name, []), []
            put(name, module)
    return found


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked after all others: modules of the file's own, and stand-ins for what else AlgoPerf's package has."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.found = folder, set()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        del path, target
        top = fullname.split(".")[0]
        if top in PACKAGES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        at = locate.find(self.folder, fullname)
        if at is None and top not in locate.ROOTS:
            return None
        self.found.add(fullname)
        if at is None:  # of a tree that exists nowhere; its last part may lie beside the file
            return _package(fullname, [])
        if at.is_dir():
            return _package(fullname, [str(at)])
        search = [str(at.parent)] if at.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(fullname, at, submodule_search_locations=search)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        del module


# ------------------------------------------------------------------------------------------------------ patches

_ABSENT = object()


@contextlib.contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner).get(name, _ABSENT)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _patches(devices: list[Any]) -> list[tuple[Any, str, Any]]:
    """(module, name, value): names that JAX dropped, and its devices cut down to those of the run."""
    found: list[tuple[Any, str, Any]] = [
        (sys, "dont_write_bytecode", True),
        (jnp, "clip", _clip(jnp.clip)),
        (jax, "devices", _devices(jax.devices, devices)),
        (jax, "local_devices", _devices(jax.local_devices, devices)),
        (jax, "device_count", lambda backend=None: len(jax.devices(backend))),
        (jax, "local_device_count", lambda backend=None: len(jax.devices(backend))),
    ]
    return found + [(owner, name, value) for owner, name, value in GONE if not hasattr(owner, name)]


GONE: tuple[tuple[Any, str, Any], ...] = (
    (jax, "tree_map", jax.tree.map),
    (jax, "tree_flatten", jax.tree.flatten),
    (jax, "tree_unflatten", jax.tree.unflatten),
    (jax, "tree_leaves", jax.tree.leaves),
    (jax, "tree_structure", jax.tree.structure),
    (jax, "tree_reduce", jax.tree.reduce),
    (jax, "tree_transpose", jax.tree.transpose),
    (jax.random, "KeyArray", jax.Array),
    (jnp, "product", jnp.prod),
    (jnp, "cumproduct", jnp.cumprod),
    (jnp, "alltrue", jnp.all),
    (jnp, "sometrue", jnp.any),
    (jnp, "round_", jnp.round),
    (jnp, "row_stack", jnp.vstack),
    (jnp, "in1d", lambda ar1, ar2, **more: jnp.isin(ar1, ar2, **more).ravel()),
    (jnp, "trapz", jnp.trapezoid),
    (jax.sharding.PartitionSpec, "__class_getitem__", classmethod(lambda cls, item: cls)),  # was a tuple: in annotations
)
"""What JAX has dropped since AlgoPerf's files were written, where a rename is all that it takes."""


def _devices(real: Callable, devices: list[Any]) -> Callable:
    def of_the_run(*args: Any, backend: Any = None, **kwargs: Any) -> list[Any]:
        wanted = backend or next((a for a in args if isinstance(a, str)), None)
        if wanted in (None, devices[0].platform, devices[0].client.platform):
            return list(devices)
        return real(*args, **kwargs, backend=backend) if backend else real(*args, **kwargs)

    return of_the_run


def _clip(clip: Callable) -> Callable:
    """`jax.numpy.clip` that also takes its arguments by the names they had before jax 0.10."""

    def clip_by_either_name(arr=None, /, min=None, max=None, *, a=None, a_min=None, a_max=None):
        return clip(a if arr is None else arr, a_min if min is None else min, a_max if max is None else max)

    return clip_by_either_name
