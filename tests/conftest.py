"""Eight fake CPU devices, one compile cache for the session, the tiny board, and the mirror of real data."""

import importlib.metadata
import os
import pathlib
import signal
import sys

import pytest

# Most of the tests' time is LLVM's, on programs that run for milliseconds: see `environment.hasty_options`. XLA ends the
# process for a flag it does not know, and the last one is gone with jax 0.12.
EMITTERS = "xla_cpu_use_fusion_emitters" if importlib.metadata.version("jaxlib").startswith("0.10.") else None
AS_SHIPPED = {EMITTERS: True} if EMITTERS else None  # compiler options, where rounding in and outside loops has to agree
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    + (f" --{EMITTERS}=false" if EMITTERS else "")
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# A shell without job control starts what runs in the background deaf to interrupts, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

WARNINGS = "error,ignore:Error reading persistent compilation cache entry"  # the latter as in pyproject.toml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
ASSETS = HERE / "assets"
CACHE = ROOT / ".cache" / f"tests-{sys.version_info.major}.{sys.version_info.minor}"
os.environ["ALGOPERF_LITE_CACHE"] = str(CACHE)


@pytest.fixture(scope="session", autouse=True)
def compile_cache():
    """One persistent compile cache for all workers and subprocesses of the session, and for the next session."""
    from algoperf_lite import environment

    environment.setup()


@pytest.fixture
def mirror() -> pathlib.Path:
    """The folder of real data sets: ALGOPERF_LITE_MIRROR, else shared/data beside the clone; else the test is skipped."""
    for place in (os.environ.get("ALGOPERF_LITE_MIRROR"), ROOT.parent / "shared" / "data"):
        if place and pathlib.Path(place).is_dir():
            return pathlib.Path(place)
    pytest.skip("no mirror of the data sets: set ALGOPERF_LITE_MIRROR")


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> pathlib.Path:
    """Where data sets are unpacked, once a process."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def real_data(mirror, data_folder, monkeypatch) -> None:
    """The data sets of the lite tier, from the mirror."""
    monkeypatch.setenv("ALGOPERF_LITE_MIRROR", str(mirror))
    monkeypatch.setenv("ALGOPERF_LITE_DATA", str(data_folder))


@pytest.fixture
def tiny_toml() -> pathlib.Path:
    """The tiny board's benchmark file."""
    return ASSETS / "tiny.toml"


def subprocess_env(devices: int = 1, **more: str) -> dict[str, str]:
    """Environment of a child process: its own number of fake devices, the shipped emitters, the session's cache."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")
    flags = flags.replace(f" --{EMITTERS}=false", "")
    return {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path, "PYTHONWARNINGS": WARNINGS, **more}
