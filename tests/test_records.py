"""The records of a trial: what identifies it."""

import re

import msgspec

from algoperf_lite import records


def test_identity_of_a_trial_is_a_function_of_every_field_and_of_no_order():
    spec = records.TrialSpec(
        benchmark="b",
        benchmark_version=1,
        ruleset="self",
        workload="w",
        workload_version=1,
        entrant="e",
        submission_sha256="0",
        package_version="0",
        hparams={"a": 1.0, "b": 2.0},
        seed=1,
        study=0,
        trial=0,
        mesh={"data": 1, "fsdp": 1},
        driver="scan",
        step_cap=10,
    )
    turned = msgspec.structs.replace(spec, hparams={"b": 2.0, "a": 1.0}, mesh={"fsdp": 1, "data": 1})
    assert turned.id == spec.id
    assert re.fullmatch("[0-9a-f]{16}", spec.id)
    others = [
        msgspec.structs.replace(spec, **{name: other})
        for name, value in msgspec.structs.asdict(spec).items()
        for other in [{"a": 1} if isinstance(value, dict) else value + value if isinstance(value, str) else value + 1]
    ]
    assert len({s.id for s in [spec, *others]}) == len(others) + 1
