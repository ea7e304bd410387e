"""Programs are compiled once while there is room, and those go first that are not needed for longest."""

import gc
import pathlib
import types

import jax
import pytest

from algoperf_lite import compiled, engine, environment, mesh, registry
from algoperf_lite.compiled import Compiled
from tests.assets import tiny
from tests.conftest import EMITTERS

INFO = types.SimpleNamespace(source="digits_vit", reference={})


@pytest.fixture
def store(monkeypatch):
    """A store whose programs are not compiled: each says how many were before it; room for `store.room` of them."""
    made = []

    def compile_programs(bench, submission, hparams):
        made.append((bench, submission.name))
        found = engine.Programs(bench, submission, *[None] * 4, None, compile_s=float(len(made)), build_s=0.0)
        return found

    monkeypatch.setattr(engine, "compile_bench", lambda workload, mesh, options: f"bench {workload.name}")
    monkeypatch.setattr(engine, "compile_programs", compile_programs)
    found = Compiled(None, lambda phase, **facts: None, crowded=lambda: len(found._programs) >= found.room)
    found.room, found.made = 100, made
    return found


def ask(store, workload, *names):
    return [store.programs(workload, INFO, name, name, {}) for name in names]


def test_each_is_compiled_once_while_there_is_room(store):
    first, second = ask(store, "a", "sgd", "adam"), ask(store, "a", "sgd", "adam")
    assert [f is s for f, s in zip(first, second, strict=True)] == [True, True]
    assert store.made == [("bench digits_vit", "sgd"), ("bench digits_vit", "adam")]
    assert ask(store, "b", "sgd")[0] is not first[0]


def test_a_file_under_two_names_is_compiled_once(store):
    one, other = (store.programs("a", INFO, name, "sgd", {}) for name in ("sgd", "aa"))
    assert one is other


def test_the_latest_used_of_other_workloads_go_first_and_those_at_hand_last(store):
    store.room = 3
    ask(store, "a", "sgd", "adam")
    ask(store, "b", "sgd", "adam")  # its second pushes out the latest used of a
    assert [key[0] for key in store._programs] == ["a", "b", "b"]
    assert store.submission("sgd", "sgd").sha256 == next(iter(store._programs))[1]
    ask(store, "b", "lion", "adamw")  # the last of a, then the latest of b
    assert [key[0] for key in store._programs] == ["b", "b", "b"]
    hashes = [store.submission(name, name).sha256 for name in ("sgd", "adam", "adamw")]
    assert [key[1] for key in store._programs] == hashes


def test_a_program_that_is_made_again_keeps_the_time_of_its_first_compilation(store):
    store.room = 1
    first, _, again = ask(store, "a", "sgd", "adam", "sgd")
    assert first is not again
    assert first.compile_s == again.compile_s == 1.0
    assert len(store.made) == 3


def test_only_boards_that_time_nothing_compile_hastily(monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "compile_bench", lambda workload, mesh, options: asked.append(options))
    monkeypatch.setattr(engine, "compile_programs", lambda *_: engine.Programs(*[None] * 7, compile_s=1.0, build_s=0.0))
    for hastily in (False, True):
        Compiled(None, lambda phase, **facts: None, hastily=hastily).programs("a", INFO, "sgd", "sgd", {})
    assert asked == [None, environment.hasty_options()]


def test_hasty_options_are_those_that_the_installed_xla_knows(monkeypatch):
    always = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    assert environment.hasty_options() == {**always, **({EMITTERS: False} if EMITTERS else {})}
    compiled = jax.jit(lambda x: x + 1).lower(1.0).compile(environment.hasty_options())
    assert float(compiled(1.0)) == 2.0
    environment.hasty_options.cache_clear()

    class Busy:
        def compile(self, options):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(jax, "jit", lambda f: types.SimpleNamespace(lower=Busy))
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):  # tells nothing of the option
        environment.hasty_options()


def test_room_is_told_by_the_kernels_limit(tmp_path):
    used = pathlib.Path("/proc/self/maps").read_bytes().count(b"\n")
    for limit, crowded in ((used, True), (100 * used, False), ("no number", False)):
        (tmp_path / "limit").write_text(str(limit))
        assert environment.crowded(tmp_path / "limit") == crowded
    assert not environment.crowded(tmp_path / "none")


def test_programs_that_go_give_their_memory_back():
    """Compiled for real, without a compile cache between: every program takes mappings, and gives them back."""

    def mappings():
        gc.collect()
        return pathlib.Path("/proc/self/maps").read_bytes().count(b"\n")

    bench = engine.compile_bench(tiny.build(), mesh.make({"data": 1, "fsdp": 1}))
    entry = registry.load_submission("sgd")
    before = mappings()
    programs = compiled._compile(bench, entry, entry.resolve({}))
    held = mappings() - before
    del programs
    assert held > 20
    assert mappings() - before < held / 4
