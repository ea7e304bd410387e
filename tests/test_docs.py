"""What the README and docs/ say must be true of the code: commands parse, examples run, links resolve."""

import json
import re
import shlex

import pytest

from algoperf_lite import cli, contract, registry
from tests.conftest import ASSETS, ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/*.md"))
page = pytest.mark.parametrize("path", PAGES, ids=[p.name for p in PAGES])


def commands(text: str) -> list[str]:
    """`algoperf-lite ...` in shell blocks (up to a comment) and in inline code."""
    shell = "\n".join(re.findall(r"^ *```sh\n(.*?)^ *```", text, re.M | re.S))
    inline = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    lines = re.findall(r"^\s*(algoperf-lite [^#\n]*)", shell, re.M)
    return [line.strip() for line in lines + re.findall(r"`(algoperf-lite [^`]*)`", inline)]


def example(name: str, page: str = "README.md") -> str:
    """The Python block between two markers of a page."""
    text = (ROOT / page).read_text()
    found = re.search(rf"<!-- {name}: begin -->\n```python\n(.*?)```\n<!-- {name}: end -->", text, re.S)
    assert found is not None, f"{page} has no example {name!r}"
    return found.group(1)


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


@page
def test_commands_parse(path):
    parser = cli.parser()
    for command in commands(path.read_text()):
        try:
            parser.parse_args(shlex.split(command)[1:])
        except SystemExit:
            pytest.fail(f"{path.name}: {command}")


def test_commands_are_found():
    assert sum(len(commands(p.read_text())) for p in PAGES) > 20
    mentioned = {shlex.split(c)[1] for c in commands((ROOT / "README.md").read_text())}
    assert set(cli.COMMANDS) == mentioned


@pytest.mark.parametrize(
    "where",
    [("example submission",), ("own rule", "docs/submission.md"), ("wrapped method", "docs/submission.md")],
    ids=" ".join,
)
def test_example_submission_passes_every_check(where, tmp_path):
    file = tmp_path / "my_opt.py"
    file.write_text(example(*where))
    results = list(contract.validate_submission(str(file), quick=True))
    assert len(results) > 5
    assert [r for r in results if not r.ok] == []


def test_example_problem_runs_and_learns(capsys):
    exec(compile(example("example problem"), "README.md", "exec"), {"__name__": "readme"})
    loss = re.fullmatch(r"loss (\d+\.\d+)\n", capsys.readouterr().out)
    assert loss is not None
    assert float(loss.group(1)) < 0.05  # about 14 at the start


ASKING = ["sam", "sophia", "vrgd"]


def test_methods_that_ask_for_extra_arguments_are_all_tried():
    assert [n for n in registry.names("submissions") if registry.load_submission(n).EXTRA_ARGS] == ASKING


@pytest.mark.parametrize("method", ASKING)
def test_example_of_extra_arguments_drives_every_method_that_asks_for_some(method):
    setup = example("example problem").partition("@jax.jit")[0].replace('"nadamw"', repr(method))
    known = {"__name__": "docs"}
    exec(compile(setup + example("extra arguments", "docs/submission.md"), "submission.md", "exec"), known)
    params, state = known["params"], known["state"]
    before = float(known["loss"](params))
    for number in range(50):
        params, state = known["step"](params, state, number)
    assert float(known["loss"](params)) < 0.5 * before


def test_example_range_test_runs(capsys):
    exec(compile(example("range test", "docs/schedules.md"), "schedules.md", "exec"), {"__name__": "docs"})
    found = re.fullmatch(r"steepest at (\S+), a tenth of the minimum's (\S+)\n", capsys.readouterr().out)
    assert found is not None
    # Steps over 2 / 60, from the largest curvature, diverge; the loss falls well before.
    assert 1e-5 < float(found.group(1)) < 1 / 30
    assert 1e-3 < float(found.group(2)) < 1 / 60


def test_example_of_a_driven_file_runs_and_learns(capsys):
    file = str(ASSETS / "algoperf" / "nadamw_jit" / "submission.py")
    text = example("driven", "docs/algoperf_submissions.md").replace('"path/to/submission.py"', repr(file))
    exec(compile(text, "algoperf_submissions.md", "exec"), {"__name__": "docs"})
    found = re.fullmatch(
        r"loss (\d\.\d+) -> (\d\.\d+), evaluated at steps \[20, 40, 60, 80, 100\]\n", capsys.readouterr().out
    )
    assert found is not None
    assert found.group(1) == "1.10"  # the logarithm of three classes
    assert float(found.group(2)) < 0.6


@page
def test_relative_links_resolve(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert anchor in map(slug, headings), f"{path.name}: {link}"


@page
def test_pages_name_no_machine(path):
    text = path.read_text()
    own = re.findall(r"(?<![\w.:/])/(?:root|work|home|tmp|Users|mnt)\b\S*", text)
    # The host of an index or mirror of packages has no place in a page that others read.
    index = re.findall(r"\S*(?:\bpypi|pythonhosted|simple/|--index-url|--extra-index|artifactory|nexus)\S*", text, re.I)
    assert own + index == []
    assert "\N{EM DASH}" not in text


def test_tables_of_workloads_hold_every_one_and_agree_with_the_records():
    text = (ROOT / "docs" / "workloads.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]+) \| (\d+)/(\d+) \| (\d*)", text, re.M)
    records = {p.stem: json.loads(p.read_text()) for p in (ROOT / "workloads" / "targets").glob("*.json")}
    assert {name for name, *_ in rows} == set(records)
    for name, target, reached, seeds, steps in rows:
        record = records[name]
        shares = record["reference_hit_share_of_budget"]
        assert f" {record['validation_target']:.4g}" in f" {target}", name
        assert target.endswith("*") == record["provisional"], name
        assert (int(reached), int(seeds)) == (sum(s is not None for s in shares), len(shares)), name
        assert steps == (f"{record['reference_steps']:.0f}" if record["reference_steps"] else ""), name
