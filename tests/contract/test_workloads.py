"""What `validate` says of workloads with one fault each."""

import dataclasses

import pytest

from algoperf_lite import spec
from algoperf_lite.contract import workloads
from algoperf_lite.contract.checking import check
from tests.assets import tiny


def with_kernel(kind, fan_in, fan_out):
    roles = {**tiny.build().roles, "kernel": spec.Role(kind, fan_in, fan_out, fan_in, fan_out)}
    return dataclasses.replace(tiny.build(), roles=roles)


def roles_line(workload):
    (found,) = check([(f, mend) for f, mend in workloads.CHECKS if f is workloads._roles], workload, {})
    return found


def test_kernel_with_its_inputs_first_passes():
    assert roles_line(with_kernel("matrix", tiny.DIM, tiny.CLASSES)).ok


@pytest.mark.parametrize(
    ("kind", "fans", "words"),
    [
        ("matrix", (tiny.CLASSES, tiny.DIM), "has fan_in 4, which is no product of leading axes"),
        ("conv", (2, 16), "has fan_in 2, which is no product of leading axes"),
        ("matrix", (tiny.DIM, tiny.DIM), "has fans 8 and 8"),
    ],
)
def test_kernel_whose_fans_do_not_fit_its_axes_is_named(kind, fans, words):
    found = roles_line(with_kernel(kind, *fans))
    assert not found.ok
    assert f"['kernel']: {kind} of shape (8, 4) {words}" in found.detail
    assert found.mend
