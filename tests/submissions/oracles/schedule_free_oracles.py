"""Schedule-free methods against the authors' package."""

from tests.submissions.oracles.cases import Case, torch_run


def _adamw(parameters):
    import schedulefree

    return schedulefree.AdamWScheduleFree(
        parameters, lr=0.05, betas=(0.9, 0.97), eps=1e-8, weight_decay=0.02, warmup_steps=10
    )


def _evaluated(optimizer, tensors):
    optimizer.eval()
    found = {k: p.detach().numpy().copy() for k, p in tensors.items()}
    optimizer.train()
    return found


def _train(make):
    def made(parameters):
        optimizer = make(parameters)
        optimizer.train()
        return optimizer

    return made


CASES = {
    "schedule_free_adamw": Case(
        "schedule_free_adamw",
        {
            "learning_rate": 0.05,
            "b1": 0.9,
            "b2": 0.97,
            "eps": 1e-8,
            "weight_decay": 0.02,
            "warmup_fraction": 0.1,
            "weight_lr_power": 2.0,
        },
        "schedulefree 1.4.1",
        torch_run(_train(_adamw), evaluate=_evaluated),
        tolerance=1e-12,
    ),
}
