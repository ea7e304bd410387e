"""`doctor`: is this machine fit to measure on; each line with its fix."""

import argparse
import itertools
import os
import shutil
import time
from collections.abc import Callable

HELP = "check devices, versions, compile cache, disk, data and clock; each line with its fix"
EXAMPLES = ("doctor",)


def arguments(parser: argparse.ArgumentParser) -> None:
    """No flags."""
    del parser


def main(args: argparse.Namespace) -> int:
    """0 where nothing stops a run, 3 where something does; warnings do not count."""
    del args
    worst = 0
    for check in (_python, _devices, _versions, _cache, _disk, _data, _load, _clock, _determinism):
        state, text, fix = _guarded(check)
        print(f"{state:<4} {text}" + (f"\n     fix: {fix}" if fix else ""))
        worst = max(worst, 3 if state == "FAIL" else 0)
    return worst


def _guarded(check: Callable[[], tuple[str, str, str]]) -> tuple[str, str, str]:
    try:
        return check()
    except Exception as e:
        return "FAIL", f"{check.__name__.strip('_')}: {type(e).__name__}: {e}", "reinstall: pip install -U algoperf-lite"


def _python() -> tuple[str, str, str]:
    import platform
    import sys

    ok = sys.version_info >= (3, 11)
    return "ok" if ok else "FAIL", f"Python {platform.python_version()}", "" if ok else "Python 3.11 or newer is needed"


def _devices() -> tuple[str, str, str]:
    import jax

    from algoperf_lite import environment

    environment.setup()
    devices = jax.devices()
    text = f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}), {environment.usable_cores()} usable cores"
    if devices[0].platform == "cpu" and shutil.which("nvidia-smi"):
        return "warn", text, "a GPU is there but JAX does not see it: pip install 'algoperf-lite[cuda]'"
    return "ok", text, ""


def _versions() -> tuple[str, str, str]:
    from importlib import metadata

    from algoperf_lite import __version__

    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
    return "ok", f"algoperf-lite {__version__}; " + ", ".join(f"{n} {metadata.version(n)}" for n in names), ""


def _cache() -> tuple[str, str, str]:
    from algoperf_lite import environment

    path = environment.compile_cache_dir()
    probe = path / ".probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as e:
        return "warn", f"compile cache {path}: {e.strerror}", "set ALGOPERF_LITE_CACHE to a folder that can be written"
    size = sum(f.stat().st_size for f in path.glob("*")) / 2**20
    return "ok", f"compile cache {path} ({size:.0f} MiB)", ""


def _disk() -> tuple[str, str, str]:
    free = shutil.disk_usage(".").free / 2**30
    state = "ok" if free > 1 else "warn" if free > 0.1 else "FAIL"
    return state, f"{free:.1f} GiB free in this folder", "" if state == "ok" else "free some, or run with --out elsewhere"


def _data() -> tuple[str, str, str]:
    from algoperf_lite import errors
    from algoperf_lite.data import catalog, fetch

    absent = []
    for name in catalog.CATALOG:
        try:
            fetch.verify(name)
        except errors.UserError:
            absent.append(name)
    if absent:
        return "warn", f"data sets not here: {', '.join(absent)}", f"algoperf-lite data fetch {' '.join(absent)}"
    return "ok", f"data sets: {', '.join(catalog.CATALOG)}", ""


def _load() -> tuple[str, str, str]:
    from algoperf_lite import environment

    load, cores = os.getloadavg()[0], environment.usable_cores()
    busy = load > 0.5 * cores
    fix = "other programs are running: charged reference steps correct for drift, but an idle machine is better"
    return "warn" if busy else "ok", f"load average {load:.2f} on {cores} cores", fix if busy else ""


def _clock() -> tuple[str, str, str]:
    ticks = [time.perf_counter() for _ in range(1000)]
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    if min(steps) < 0:
        return "FAIL", "the clock went backwards", "the machine's monotonic clock is broken"
    return "ok", f"clock resolution {max(min(s for s in steps if s >= 0), 1e-9) * 1e9:.0f} ns", ""


def _determinism() -> tuple[str, str, str]:
    import jax
    import jax.numpy as jnp

    f = jax.jit(lambda x: jnp.sum(jnp.tanh(x @ x.T)))
    x = jax.random.normal(jax.random.key(0), (256, 256))
    if float(f(x)) != float(f(x)):
        return "warn", "the same program gave two results", "on GPUs: XLA_FLAGS=--xla_gpu_deterministic_ops=true"
    return "ok", "the same program gives the same bits", ""
