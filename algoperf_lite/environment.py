"""The machine: compile cache, several processes, and the manifest that says where a number came from.

Nothing happens at import; `setup` is called once by the commands that compute.
"""

import functools
import hashlib
import json
import os
import pathlib
import platform
import re
import subprocess
from typing import Any

from algoperf_lite import __version__, errors


def cache_dir() -> pathlib.Path:
    """Where compiled programs and fetched data are kept: ALGOPERF_LITE_CACHE, else the user's cache folder."""
    base = os.environ.get("ALGOPERF_LITE_CACHE")
    if base:
        return pathlib.Path(base)
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "algoperf_lite"


def compile_cache_dir() -> pathlib.Path:
    """One folder per processor model and number of usable cores: XLA's CPU programs are bound to both."""
    return cache_dir() / "jax" / hashlib.sha256(f"{_processor()} {usable_cores()}".encode()).hexdigest()[:12]


def setup(coordinator: str | None = None, num_processes: int = 1, process_id: int = 0) -> None:
    """Switches the persistent compile cache on, for small programs too, and joins the other processes if there are any.

    Args:
      coordinator: `host:port` of process 0; None for one process.

    Raises:
      EnvironmentFault: the processes could not be joined.
    """
    import jax

    path = compile_cache_dir()
    try:
        path.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    except OSError:
        pass  # a cache that cannot be written only costs time; `doctor` says so
    if coordinator is not None:
        try:
            jax.distributed.initialize(coordinator, num_processes, process_id)
        except Exception as e:
            raise errors.EnvironmentFault(
                f"process {process_id} of {num_processes} could not join {coordinator}: {e}"
            ) from e


@functools.cache
def hasty_options() -> dict[str, Any]:
    """Compiler options for programs that run a few steps only: a fraction of the time to compile, slower steps.

    Those that the installed XLA knows; it refuses others.
    """
    import jax

    def known(name: str, value: Any) -> bool:
        try:
            jax.jit(lambda: 0).lower().compile({name: value})
        except jax.errors.JaxRuntimeError as e:
            if "No such compile option" not in str(e):
                raise
            return False
        return True

    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,  # gone with jax 0.12
    }
    return {name: value for name, value in options.items() if known(name, value)}


def broadcast(value: Any) -> Any:
    """Process 0's JSON-able value on all processes."""
    import jax
    import numpy as np

    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    payload = json.dumps(value).encode() if jax.process_index() == 0 else b""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(payload))))
    buffer = np.zeros(length, np.uint8)
    if jax.process_index() == 0:
        buffer[:] = np.frombuffer(payload, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8).tobytes())


def anywhere(value: bool) -> bool:
    """Whether it is true on any process; all get the same answer."""
    import jax
    import numpy as np

    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.bool_(value))))


def crowded(limit: pathlib.Path = pathlib.Path("/proc/sys/vm/max_map_count")) -> bool:
    """Whether this process nears the kernel's limit of memory mappings: a compiled program takes hundreds, and beyond the
    limit XLA ends the process. False where the kernel does not say."""
    try:
        return pathlib.Path("/proc/self/maps").read_bytes().count(b"\n") > int(limit.read_text()) / 2
    except (OSError, ValueError):
        return False


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host_fingerprint() -> str:
    """12 hexadecimal digits that tell machines apart without naming them. Times are compared within one only."""
    import jax

    machine = _first_line("/etc/machine-id") or platform.node()
    device = jax.devices()[0]
    parts = (machine, _processor(), usable_cores(), device.platform, device.device_kind, jax.device_count())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def manifest() -> dict[str, Any]:
    """Versions, devices and state of the machine; no user, host name or home path."""
    import importlib.metadata as metadata

    import jax

    device = jax.devices()[0]
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")}
    return {
        "algoperf_lite": __version__,
        "python": platform.python_version(),
        **versions,
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "processor": _processor(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "xla_flags": _without_paths(os.environ.get("XLA_FLAGS", "")),
        "host": host_fingerprint(),
        "git": _git_commit(),
        "load_average": os.getloadavg()[0],
    }


def _without_paths(flags: str) -> str:
    return re.sub(r"=\S*/\S*", "=PATH", flags)


def _processor() -> str:
    match = re.search(r"model name\s*:\s*(.+)", _text("/proc/cpuinfo"))
    return match.group(1) if match else platform.processor() or platform.machine()


def _first_line(path: str) -> str:
    return _text(path).partition("\n")[0]


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


def _git_commit() -> str | None:
    """Commit of the clone the package runs from, with `+` where it was changed; None outside a clone."""
    root = pathlib.Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
