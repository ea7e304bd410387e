"""Meshes: the grammar of `--mesh`, where arrays lie, and eight devices that train as one does."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from algoperf_lite import engine, errors, mesh, registry
from tests.test_engine import train
from tests.workloads.cases import MICRO

pytestmark = pytest.mark.slow

# ------------------------------------------------------------------------------------------------------ the grammar


@pytest.mark.parametrize(
    ("text", "devices", "sizes"),
    [
        (None, None, (8, 1)),
        (None, 3, (3, 1)),
        ("data=4,fsdp=2", None, (4, 2)),
        ("data=4, fsdp=2", 8, (4, 2)),
        ("fsdp=4", None, (1, 4)),
        ("data=2", None, (2, 1)),
    ],
)
def test_mesh_is_parsed(text, devices, sizes):
    assert mesh.parse(text, devices) == dict(zip(mesh.AXES, sizes, strict=True))


@pytest.mark.parametrize(
    ("text", "devices", "message"),
    [
        ("dat=4", None, "unknown mesh axis 'dat'; did you mean 'data'?"),
        ("data", None, "'data' is not AXIS=SIZE"),
        ("data=0", None, "'data=0' is not AXIS=SIZE with a size of 1 or more"),
        ("data=-1", None, "'data=-1' is not AXIS=SIZE"),
        ("data=²", None, "'data=²' is not AXIS=SIZE"),
        ("data=two", None, "'data=two' is not AXIS=SIZE"),
        ("data=4,", None, "unknown mesh axis ''"),
        ("data=4,data=2", None, "'data' is there twice"),
        ("", None, "unknown mesh axis ''"),
        ("data=16", None, "needs 16 devices; this process sees 8 (cpu)"),
        ("data=4", 8, "needs 4 devices; this process sees 8 (cpu) and --devices asks for 8"),
        (None, 9, "--devices 9: this process sees 8 (cpu)"),
        (None, 0, "--devices 0: this process sees 8 (cpu)"),
    ],
)
def test_mesh_that_does_not_parse_or_fit_is_answered(text, devices, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        mesh.parse(text, devices)


def test_batch_that_does_not_divide_is_answered_with_the_nearest_number_that_does():
    with pytest.raises(
        errors.UserError,
        match=r"workload tiny: batch size 12 does not divide over 8 devices .*the nearest number that does: --devices 6",
    ):
        mesh.check_batch(mesh.make({"data": 4, "fsdp": 2}), "tiny", 12)
    mesh.check_batch(mesh.make({"data": 4, "fsdp": 2}), "tiny", 16)


# ------------------------------------------------------------------------------------------------- where arrays lie


def test_largest_divisible_axis_is_sharded_and_small_leaves_are_replicated():
    eight = mesh.make({"data": 2, "fsdp": 4})

    def rule(*shape):
        return tuple(mesh.shard_rule(eight, jax.ShapeDtypeStruct(shape, np.float32)).spec)

    assert rule(8, 16) == (None, "fsdp")
    assert rule(16, 8) == ("fsdp",)
    assert rule(3, 3, 8, 7) == (None, None, "fsdp")
    assert rule(3, 5) == rule() == rule(2) == ()


# ----------------------------------------------------------------------------------------------- eight devices as one

STEPS = 20


LAYOUTS = {"dp": (8, 1), "fsdp": (1, 8), "dp_x_fsdp": (4, 2)}
CASES = [  # convolutions take long to compile: by default the layout that has both axes
    pytest.param(name, sizes, id=f"{name}-{layout}", marks=[pytest.mark.long] if slow else [])
    for name in ("digits_vit", "digits_resnet", "markov_lm")
    for layout, sizes in LAYOUTS.items()
    for slow in [name == "digits_resnet" and layout != "dp_x_fsdp"]
]


@pytest.fixture(scope="module")
def alone(request):
    """(workload, submission, losses on one device); Nesterov, whose steps do not blow rounding up."""
    workload = next(case for case in MICRO if case.name == request.param).build()
    workload = dataclasses.replace(workload, step_budget=STEPS * workload.evaluations)
    entry = registry.load_submission("nesterov")
    return workload, entry, _losses(workload, entry, {"data": 1, "fsdp": 1})[0]


def _losses(workload, entry, sizes):
    bench = engine.compile_bench(workload, mesh.make(sizes))
    point = entry.resolve({"warmup_fraction": 0.0, "learning_rate": 0.05})
    programs = engine.compile_programs(bench, entry, point)
    losses, carry = train(programs, point)
    return losses, carry, bench.metrics(carry.params, carry.model_state, "validation")


@pytest.mark.parametrize(("alone", "sizes"), CASES, indirect=["alone"])
def test_eight_devices_train_to_the_losses_of_one(sizes, alone):
    workload, entry, expected = alone
    losses, carry, metrics = _losses(workload, entry, dict(zip(mesh.AXES, sizes, strict=True)))
    assert len(losses) == STEPS
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert np.isfinite(metrics[workload.metric])
    sharded = [not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves((carry.params, carry.opt_state))]
    assert any(sharded) == (sizes[1] > 1)
    assert all(len(leaf.sharding.device_set) == 8 for leaf in jax.tree.leaves(carry))
