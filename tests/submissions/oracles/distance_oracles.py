"""Distance-based and coin-betting methods against their authors' packages."""

from tests.submissions.oracles.cases import Case, torch_run

_SCALAR = {"w": (4, 6), "b": (4,), "s": ()}


def _dog(name):
    def make(parameters):
        import dog

        return getattr(dog, name)(parameters, reps_rel=1e-2, lr=0.7, weight_decay=0.01, eps=1e-8)

    return make


def _averaged():
    """The authors' averager, stepped after every step of the optimizer."""
    averager = None

    def evaluate(optimizer, tensors):
        import dog
        import torch

        nonlocal averager
        del optimizer
        if averager is None:
            averager = dog.PolynomialDecayAverager(torch.nn.ParameterDict(tensors), gamma=8.0)
        averager.step()
        return {k: p.detach().numpy().copy() for k, p in averager.averaged_model.items()}

    return evaluate


def _cocob(parameters):
    import parameterfree

    return parameterfree.COCOB(parameters, alpha=20.0, eps=1e-8, weight_decay=0.01)


_DOG = {"learning_rate": 0.7, "reps_rel": 1e-2, "eps": 1e-8, "weight_decay": 0.01, "averaging_alpha": 8.0}

CASES = {
    "dog": Case("dog", _DOG, "dog-optimizer 1.0.3", torch_run(_dog("DoG"), evaluate=_averaged()), tolerance=1e-14),
    "ldog": Case(
        "ldog",
        _DOG,
        "dog-optimizer 1.0.3",
        torch_run(_dog("LDoG"), evaluate=_averaged()),
        tolerance=1e-14,
        shapes=_SCALAR,
        still=("b",),
    ),
    "cocob": Case(
        "cocob",
        {"learning_rate": 1.0, "alpha": 20.0, "eps": 1e-8, "weight_decay": 0.01},
        "parameterfree 0.0.1",
        torch_run(_cocob),
        tolerance=1e-14,
        shapes=_SCALAR,
        still=("b",),
    ),
}
