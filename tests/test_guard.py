"""Nothing smuggled (P3)."""

import re
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite import errors, guard

LARGE = np.zeros(16_385, np.float32)
X = jnp.zeros(())


def _in_scan(x):
    return jax.lax.scan(lambda c, _: (c + jnp.asarray(LARGE)[0], None), x, length=3)[0]


def _in_while(x):
    return jax.lax.while_loop(lambda c: c < jnp.asarray(LARGE)[0], lambda c: c + 1, x)


def _in_jit(x):
    return jax.jit(lambda y: y + jnp.asarray(LARGE)[3])(x)


def _in_custom_rule(x):
    rule = jax.custom_jvp(lambda y: y * jnp.asarray(LARGE)[0])
    rule.defjvp(lambda p, t: (rule(*p), t[0]))
    return rule(x)


@pytest.mark.parametrize("program", [lambda x: x + jnp.asarray(LARGE)[0], _in_scan, _in_while, _in_jit, _in_custom_rule])
def test_large_constant_is_found_wherever_it_hides(program):
    message = "it: the traced program holds 65540 bytes of constants, the last of shape (16385,)"
    with pytest.raises(errors.UserError, match=re.escape(message)):
        guard.check_program(jax.make_jaxpr(program)(X), "it")


def test_constants_that_are_large_together_are_refused():
    def traced(count):
        parts = [np.full(8_000, k, np.float32) for k in range(count)]
        return jax.make_jaxpr(lambda x: sum((jnp.asarray(part)[3] for part in parts), x))(X)

    guard.check_program(traced(2), "it")
    with pytest.raises(errors.UserError, match="it: the traced program holds 96000 bytes of constants"):
        guard.check_program(traced(3), "it")


def test_constant_of_64_kib_and_a_large_array_made_inside_are_accepted():
    guard.check_program(jax.make_jaxpr(lambda x: x + jnp.asarray(LARGE[:-1])[0])(X), "it")
    guard.check_program(jax.make_jaxpr(lambda x: x + jnp.arange(10**6, dtype=jnp.float32)[5])(X), "it")


def _callback(x):
    return jax.pure_callback(lambda: np.float32(1), jax.ShapeDtypeStruct((), jnp.float32)) + x


def _io(x):
    return jax.experimental.io_callback(lambda: np.float32(1), jax.ShapeDtypeStruct((), jnp.float32)) + x


def _print(x):
    jax.debug.print("{}", x)
    return x


@pytest.mark.parametrize("program", [_callback, _io, _print])
@pytest.mark.parametrize("inside", [lambda f: f, jax.jit, lambda f: lambda x: jax.lax.cond(x > 0, f, lambda y: y, x)])
def test_host_callback_or_effect_is_refused_wherever_it_hides(program, inside):
    with pytest.raises(errors.UserError, match=r"refused \(P3\)"):
        guard.check_program(jax.make_jaxpr(inside(program))(X), "it")


def test_block_that_leaves_nothing_behind_passes(tmp_path):
    with guard.nothing_left_behind("it"):
        (tmp_path / "file").write_text("closed")
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()


def test_thread_process_and_open_file_left_behind_are_named(tmp_path):
    done = threading.Event()
    try:
        with pytest.raises(errors.UserError, match=r"it left threads behind: helper"), guard.nothing_left_behind("it"):
            threading.Thread(target=done.wait, name="helper", daemon=True).start()
    finally:
        done.set()
    child = None
    with pytest.raises(errors.UserError, match=r"it left processes behind: \d+"), guard.nothing_left_behind("it"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.communicate(b"\n")
    handle = None
    with pytest.raises(errors.UserError, match=r"it left open files behind: .*data"), guard.nothing_left_behind("it"):
        handle = open(tmp_path / "data", "w")  # noqa: SIM115
    handle.close()


def test_error_inside_the_block_is_not_covered_up():
    with pytest.raises(ZeroDivisionError), guard.nothing_left_behind("it"):
        raise ZeroDivisionError
