"""Is learning real? One NadamW run of every lite workload, beside answers that know nothing of the input.

Run: python -m benchmarks.learning [--workloads A,B] [--docs docs/workloads.md]

The run is that of `algoperf-lite targets NAME --one-run ...` at the settings below: it ends where its schedule does, at 3/4
of the step budget.

Needs the real data (`algoperf-lite data fetch`, or ALGOPERF_LITE_MIRROR). Minutes per workload on a CPU; finished rows in
`benchmarks/results/learning.json` are kept, so an interrupted run goes on where it stopped. One seed and one setting each:
proof that the model learns the task. Where the target procedure has not run, this run also sets a provisional target.
"""

import argparse
import json
import pathlib

import jax.numpy as jnp
import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from algoperf_lite import cli, environment, records, registry, targets
from algoperf_lite.data import bytes_text, fashion, kspace, spoken_digits
from algoperf_lite.tasks import multilabel, reconstruction, speech, translation
from benchmarks import page

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "learning.json"
DOCS = "learning table"
ROWS = 1 << 20  # of ten times as many, for the linear model of the generated log
COMMON = {"b1": 0.9, "b2": 0.99, "weight_decay": 0.01, "warmup_fraction": 0.1}
LEARNING_RATES = {
    "fashion_resnet": 1e-2,
    "fashion_vit": 2e-3,
    "hippocampus_unet": 1e-2,
    "spoken_conformer": 3e-3,
    "spoken_lstm": 5e-3,
    "tanaka_mt": 2e-3,
    "adult_dlrm": 3e-3,
    "clicks10m_dlrm": 1e-2,
    "hiv_gnn": 2e-3,
    "tox21_gnn": 2e-3,
    "novels_lm": 5e-3,
    "shakespeare_lm": 3e-3,
}


# ---------------------------------------------------------------------------------------------------- trivial answers


def images(data) -> dict[str, float]:
    """Accuracy of the most common class, and of logistic regression on pixels."""
    x, y = fashion.standardised(data["train"]["image"]), data["train"]["label"]
    held_x, held_y = data["validation"]["image"], data["validation"]["label"]
    model = LogisticRegression(max_iter=1000, C=0.01).fit(np.reshape(x, (len(x), -1)), y)
    common = np.bincount(y).argmax()
    return {
        "majority class": float(np.mean(held_y == common)),
        "logistic regression on pixels": float(model.score(np.reshape(held_x, (len(held_x), -1)), held_y)),
    }


def scans(data) -> dict[str, float]:
    """Similarity of the zero-filled image with the truth."""
    image, columns = data["validation"]["image"], data["validation"]["columns"]
    found = reconstruction.ssim(jnp.asarray(kspace.zero_filled(image, columns)), jnp.asarray(image))
    return {"zero-filled image": float(np.mean(found))}


def speakers(data) -> dict[str, float]:
    """Word error rate of silence, and of the most common digit said as often as an utterance has digits on average."""
    labels = data["validation"]["labels"]
    said = [speech.alphabet_text(row[row > 0], spoken_digits.ALPHABET) for row in labels]
    words = [word for text in said for word in text.split()]
    common = max(set(words), key=words.count)
    answers = {"silence": "", "one digit": " ".join([common] * round(len(words) / len(said)))}
    rates = {}
    for name, answer in answers.items():
        edits, counts = speech.word_edits(said, [answer] * len(said))
        rates[name] = float(edits.sum() / counts.sum())
    return rates


def sentences(data) -> dict[str, float]:
    """BLEU of the best of 200 training sentences, said for everything."""
    references = data["validation"]["reference"]
    width = references.shape[1]
    best = 0.0
    for row in np.asarray(data["train"]["target"])[:200]:
        constant = np.zeros(width, np.int32)
        constant[: len(row)] = row
        best = max(best, translation.bleu(np.tile(constant, (len(references), 1)), references)[0])
    return {"best constant sentence": best}


def census(data) -> dict[str, float]:
    """Log loss of the base rate, and of logistic regression on one-hot categories and dense features."""
    train, held = data["train"], data["validation"]
    rate = train["label"].mean()
    base = -np.mean(held["label"] * np.log(rate) + (1 - held["label"]) * np.log(1 - rate))
    encoder = OneHotEncoder(handle_unknown="ignore").fit(train["categories"])

    def features(part):
        return np.hstack([encoder.transform(part["categories"]).toarray(), part["dense"]])

    model = LogisticRegression(max_iter=1000).fit(features(train), train["label"])
    p = model.predict_proba(features(held))[:, 1]
    loss = -np.mean(held["label"] * np.log(p) + (1 - held["label"]) * np.log(1 - p))
    return {"base rate": float(base), "logistic regression": float(loss)}


def clicks_log(data) -> dict[str, float]:
    """Excess nats of the base rate, and of logistic regression on one-hot categories and dense features of a tenth."""
    train, held = ({k: v[:ROWS] for k, v in data[split].items()} for split in ("train", "validation"))
    true = 1 / (1 + np.exp(-held["logit"].astype(np.float64)))

    def excess(p):
        return float(np.mean(true * np.log(true / p) + (1 - true) * np.log((1 - true) / (1 - p))))

    encoder = OneHotEncoder(handle_unknown="ignore").fit(train["categories"])
    x, held_x = (sparse.hstack([encoder.transform(s["categories"]), s["dense"]]).tocsr() for s in (train, held))
    model = LogisticRegression(max_iter=1000).fit(x, train["label"])
    return {
        "base rate": excess(np.mean(data["train"]["label"])),
        "logistic regression": excess(model.predict_proba(held_x)[:, 1]),
    }


def compounds(data) -> dict[str, float]:
    """Mean average precision of a constant, and of logistic regression on counts of atom and bond categories."""

    def counts(part):
        inside = [np.arange(part[name].shape[1]) < part["sizes"][:, [i]] for i, name in enumerate(("nodes", "edges"))]
        columns = []
        for name, real in zip(("nodes", "edges"), inside, strict=True):
            for column in np.moveaxis(part[name], 2, 0):
                columns += [((column == value) & real).sum(1) for value in range(int(column.max()) + 1)]
        return columns

    train, held = data["train"], data["validation"]
    merged = {k: np.concatenate([train[k], held[k]]) for k in ("nodes", "edges", "sizes")}
    x = StandardScaler().fit_transform(np.stack(counts(merged), 1).astype(float))
    x, held_x = x[: len(train["labels"])], x[len(train["labels"]) :]
    scores = np.zeros(held["labels"].shape)
    for label in range(scores.shape[1]):
        known = train["labels"][:, label] >= 0
        model = LogisticRegression(max_iter=10000, C=0.1).fit(x[known], train["labels"][known, label])
        scores[:, label] = model.decision_function(held_x)
    rates = [np.mean(y[y >= 0] == 1) for y in held["labels"].T]
    return {
        "constant (share of positives)": float(np.mean(rates)),
        "logistic regression on counts": multilabel.mean_average_precision(scores, held["labels"])[0],
    }


def texts(data) -> dict[str, float]:
    """Cross-entropy per byte of a unigram and of a bigram model."""
    text, tokens = data["train"]["text"], data["validation"]["tokens"]
    return {"unigram": bytes_text.unigram_nats(text, tokens), "bigram": bytes_text.bigram_nats(text, tokens)}


def perplexities(data) -> dict[str, float]:
    """The same as perplexities."""
    return {name: float(np.exp(nats)) for name, nats in texts(data).items()}


TRIVIAL = {
    "fashion_resnet": images,
    "fashion_vit": images,
    "hippocampus_unet": scans,
    "spoken_conformer": speakers,
    "spoken_lstm": speakers,
    "tanaka_mt": sentences,
    "adult_dlrm": census,
    "clicks10m_dlrm": clicks_log,
    "hiv_gnn": compounds,
    "tox21_gnn": compounds,
    "novels_lm": perplexities,
    "shakespeare_lm": texts,
}


# ------------------------------------------------------------------------------------------------------------- the run


def run(name: str, folder: pathlib.Path) -> dict:
    """Curve and last metrics of one run, and the trivial answers. A run that lies in `folder` is not repeated."""
    workload = registry.load_workload(name)
    hparams = {**COMMON, "learning_rate": LEARNING_RATES[name]}
    procedure = targets.Procedure(workload, folder / name, targets.Plan(0, 1, ("nadamw",)))
    record = procedure.one_run(hparams)
    (one,) = record["V"]
    return {
        "workload": name,
        "metric": workload.metric,
        "version": workload.version,
        "step_budget": workload.step_budget,
        "steps": len(one["curves"][0]) * workload.interval,
        "hparams": one["hparams"],
        "final": {"validation": one["finals"][0], "test": one["tests"][0][-1]},
        "curve": one["curves"][0],
        "trivial": TRIVIAL[name](workload.load()),
        "collected": records.utc(),  # from a run that may have ended earlier
        "manifest": environment.manifest(),
    }


def finished() -> list[dict]:
    """The rows there are."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else []


def table(rows: list[dict]) -> str:
    """Markdown of all rows."""
    lines = [
        "| workload | metric | steps | validation | test | trivial answers (validation) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(rows, key=lambda r: list(LEARNING_RATES).index(r["workload"])):
        validation, test = (r["final"][split] for split in ("validation", "test"))
        trivial = ", ".join(f"{name} {value:.3g}" for name, value in r["trivial"].items())
        lines.append(f"| `{r['workload']}` | {r['metric']} | {r['steps']:,} | {validation:.3f} | {test:.3f} | {trivial} |")
    return "\n".join(lines)


def main() -> None:
    """Runs what is missing, writes, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", help="A,B; default all lite ones")
    parser.add_argument("--docs", type=pathlib.Path)
    parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "targets", help="where runs lie (%(default)s)")
    args = parser.parse_args()
    environment.setup()
    for name in cli.comma_list(args.workloads) if args.workloads else LEARNING_RATES:
        workload = registry.load_workload(name)
        wanted = (name, workload.version, workload.step_budget)
        if not any((r["workload"], r["version"], r["step_budget"]) == wanted for r in finished()):
            row = run(name, args.runs)
            others = [r for r in finished() if r["workload"] != name]  # read anew: another process may have written
            RESULTS.write_text(json.dumps([*others, row], indent=1) + "\n")
    rows = finished()
    print(table(rows))
    if args.docs:
        page.put(args.docs, DOCS, table(rows))


if __name__ == "__main__":
    main()
