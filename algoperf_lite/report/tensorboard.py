"""Curves as TensorBoard event files, written after the run from what lies on disk: off the timed path, no TensorFlow."""

import pathlib

from algoperf_lite import storage


def write(run_dir: str | pathlib.Path, folder: pathlib.Path) -> int:
    """One run per trial under `folder`; scalars over optimizer steps. Returns the number of trials written."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    directory = storage.RunDirectory(run_dir)
    specs = directory.trial_specs()
    for trial_id, spec in specs.items():
        name = f"{spec.workload}/{spec.entrant}/study{spec.study}_trial{spec.trial}"
        writer = EventFileWriter(str(folder / name))
        for event in directory.events(trial_id):
            scalars = {"train_loss": event.train_loss, "charged_reference_steps": event.reference_steps}
            scalars |= {"charged_seconds": event.submission_time_s}
            for split in ("eval_train", "validation", "test"):
                scalars |= {f"{split}/{k}": v for k, v in (getattr(event, split) or {}).items()}
            values = [Summary.Value(tag=k, simple_value=v) for k, v in scalars.items() if v is not None]
            writer.add_event(Event(step=event.step, summary=Summary(value=values)))
        writer.close()
    return len(specs)
