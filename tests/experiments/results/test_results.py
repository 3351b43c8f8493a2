"""Kept results and the pages made from them: of made runs, and of every result that is kept."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from cnnlab.studies import claims
from experiments.results import Config, run
from experiments.results.experiment import BEGIN, END

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
KEPT = sorted(p.stem for p in REPOSITORY.glob("results/*.json") if p.stem != "highlights")


def training(mean, error):
    return {
        "experiment": "train",
        "dataset": "digits",
        "model": "resnet8",
        "seeds": [0, 1, 2, 3, 4],
        "seconds": 61.4,
        "test": {"accuracy": {"mean": mean, "standard_error": error, "values": [mean] * 5}},
        "config": {
            "dataset": "digits",
            "epochs": 7,
            "data_dir": "/somebody/s/files",
            "run_dir": "/else/where",
            "weights": "/else/net.npz",
        },
        "environment": {"device_count": 1, "device_kind": "cpu", "platform": "cpu", "cpu_count": 2},
        "run_dir": "/else/where",
        "note": "of /else/where/net.npz, 5.32/24.19",
    }


def study(**more):
    """A result of an experiment that nothing here knows."""
    figure = {"mean": 0.68, "interval": [0.59, 0.77], "confidence": 0.95, "values": [0.68] * 5}
    row = {"claim": "a | b\nis *better*", "difference": "a - b", **figure, "verdict": "reproduced"}
    kept = {key: value for key, value in training(0, 0).items() if key not in ("test", "model")}
    return {**kept, "experiment": "brand_new", "claims": [row], **more}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nformer\n{END}\nafter\n")
    for name in ("train", "brand_new"):
        (tmp_path / "experiments" / name).mkdir(parents=True)
        (tmp_path / "experiments" / name / "__init__.py").touch()
    shutil.copytree(tmp_path / "experiments/train", tmp_path / "experiments/init_study")
    commit(tmp_path)
    return tmp_path


def git(root, *arguments):
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", *author, "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(root):
    """Commits all files of ``root``, in a repository of its own, and returns the commit."""
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "all")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def finished(root):
    """``finished(result, *figures)``: the directory of a run."""

    def write(result, *figures):
        directory = root / "run"
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "figures").mkdir(parents=True)
        for figure in figures:
            (directory / f"figures/{figure}.png").write_bytes(figure.encode())
        about = {"git": {"commit": git(root, "rev-parse", "HEAD"), "dirty": False}}
        environment = {**about, **result["environment"]}
        (directory / "result.json").write_text(json.dumps({**result, "environment": environment}))
        return directory

    return write


def test_a_kept_training_has_a_page_and_names_no_path_of_the_machine(root, finished):
    run(Config(add=finished(training(0.9877, 0.0019), "curves", "confusion-test"), root=root))
    kept = (root / "results/digits-resnet8.json").read_text()
    assert "somebody" not in kept and "where" not in kept and "else" not in kept
    assert json.loads(kept)["note"] == "of net.npz, 5.32/24.19"
    assert json.loads(kept)["config"]["weights"] == "net.npz"
    assert [each.name for each in root.glob("results/*.png")] == ["digits-resnet8.png"]
    assert (root / "results/digits-resnet8.png").read_bytes() == b"curves"
    page = (root / "docs/results/digits-resnet8.md").read_text()
    assert "resnet8 on digits: test accuracy 98.77 ± 0.19 % (5 seeds), 61 s" in page
    assert "* device: 2 CPU cores" in page and "* time: 61 seconds" in page
    assert "python -m experiments.train --epochs 7`" in page
    assert "![digits-resnet8](../../results/digits-resnet8.png)" in page
    readme = (root / "README.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("\nafter\n") and "former" not in readme


@pytest.mark.parametrize(
    ("about", "experiment", "message"),
    [
        (None, "train", "names none"),
        ({"commit": "0" * 40, "dirty": False}, "train", "has no commit 0000000"),
        ({"dirty": True}, "train", "had been changed"),
        ({"dirty": False}, "unwritten", r"has no experiments\.unwritten"),
    ],
)
def test_a_result_of_code_that_is_not_in_the_history_is_refused(
    root, finished, about, experiment, message
):
    result = {**training(0.9, 0.1), "experiment": experiment}
    head = {"commit": git(root, "rev-parse", "HEAD")}
    result["environment"]["git"] = about and {**head, **about}
    directory = finished(result)
    with pytest.raises(ValueError, match=message):
        run(Config(add=directory, root=root))
    assert not (root / "results").exists()


def test_a_result_of_a_commit_that_was_thrown_away_is_refused(root, finished):
    (root / "new").touch()
    directory = finished({**study(), "environment": {"git": {"commit": commit(root)}}})
    git(root, "reset", "--hard", "HEAD~1")
    with pytest.raises(ValueError, match="has no commit"):
        run(Config(add=directory, root=root))


def test_an_experiment_that_is_not_known_is_kept_and_shown_like_any_other(root, finished):
    figures = ("comparison", "more")
    run(Config(add=finished(study(), *figures), root=root))
    run(Config(add=finished(study(), *figures), name="brand_new-digits-2", root=root))
    page = (root / "docs/results/brand_new-digits.md").read_text()
    row = r"| a \| b is \*better\* | a - b | +68.00 points (95 % interval +59.00 to +77.00) |"
    assert f"{row} reproduced |" in page
    assert re.findall(r"!\[(.*?)\]", page) == ["brand_new-digits", "brand_new-digits-more"]
    index = (root / "docs/results/README.md").read_text()
    assert "| [brand\\_new-digits]" not in index
    assert "| [brand_new-digits](brand_new-digits.md) | brand_new | digits | 1 |" in index
    assert "| all |  |  | 2 |" in index


def test_a_task_is_in_the_name_and_the_title(root, finished):
    run(Config(add=finished(study(task="denoise")), root=root))
    page = (root / "docs/results/brand_new-denoise-digits.md").read_text()
    assert "# brand_new, on digits, denoise\n" in page


def test_devices_and_times_are_in_words(root, finished):
    device = {"platform": "gpu", "cpu_count": 2, "device_count": 2, "device_kind": "H"}
    run(Config(add=finished(study(environment=device, seconds=600.0)), root=root))
    kept = root / "results/brand_new-digits.json"
    result = json.loads(kept.read_text())
    result["environment"]["git"] = {"commit": "0123456789abcdef", "dirty": True}  # as earlier ones
    kept.write_text(json.dumps(result))
    run(Config(root=root))
    page = (root / "docs/results/brand_new-digits.md").read_text()
    assert "* device: 2 x H\n* time: 10 minutes\n" in page
    assert "* commit: `0123456789ab` with changes that were not committed\n" in page


def test_pages_of_results_that_are_kept_no_longer_go_and_other_pages_stay(root, finished):
    run(Config(add=finished(study()), root=root))
    (root / "results/brand_new-digits.json").unlink()
    (root / "docs/results/by-hand.md").write_text("# by hand")
    run(Config(root=root))
    pages = {each.name for each in (root / "docs/results").iterdir()}
    assert pages == {"README.md", "benchmarks.md", "by-hand.md"}


def test_an_unfinished_run_or_a_readme_without_a_place_is_refused(root, finished):
    directory = finished(study())
    (directory / "result.json").unlink()
    with pytest.raises(ValueError, match="not finished"):
        run(Config(add=directory, root=root))
    with pytest.raises(ValueError, match="give --add"):
        run(Config(name="a", root=root))
    (root / "README.md").write_text("no place")
    with pytest.raises(ValueError, match="must hold the lines"):
        run(Config(root=root))
    with pytest.raises(ValueError, match="has no README.md"):
        run(Config(root=root / "run"))


def test_a_study_of_initialisations_is_kept_without_each_seeds_statistics(root, finished):
    std = {"mean": 0.21345678, "standard_error": 0.001, "values": [0.21] * 5}
    layers = [
        {"layer": "stage1/dense", "reads_std": {**std, "mean": 1.0}, "reads_mean": std},
        {"layer": "head/dense", "reads_std": std, "reads_mean": std},
    ]
    last = {"train/loss": {"mean": 0.0123}, "validation/accuracy": {**std, "mean": 0.953}}
    learnt = {"last": last, "diverged": None, "distinct_units": None}
    result = {
        **study(model="mlp"),
        "experiment": "init_study",
        "claims": [],
        "layers": {"10 x 500 tanh": {"gaussian:std=0.01": layers}, "resnet8 on digits": {}},
        "learning": {"he": learnt, "bad": {"diverged": {"step": 1}}},
    }
    run(Config(add=finished(result, "learning", "histograms-10-x-500-tanh"), root=root))
    page = (root / "docs/results/init_study-digits.md").read_text()
    assert "10 x 500 tanh, gaussian:std=0.01: 0.213\n" in page
    assert "he: training loss 0.0123, validation accuracy 95.30 ± 0.10 % (5 seeds)\n" in page
    assert "bad: diverged at step 1\n" in page
    kept = json.loads((root / "results/init_study-digits.json").read_text())
    first, second = kept["layers"]["10 x 500 tanh"]["gaussian:std=0.01"]
    assert set(first) == {"layer", "reads_std"}
    assert second["reads_std"] == {"mean": 0.2135, "standard_error": 0.001}
    figures = {path.name for path in (root / "results").glob("*.png")}
    assert figures == {"init_study-digits.png", "init_study-digits-histograms-10-x-500-tanh.png"}


# Highlights -----------------------------------------------------------------------------------


def choose(root, *entries):
    (root / "results").mkdir(exist_ok=True)
    (root / "results/highlights.json").write_text(json.dumps(entries))


def test_the_readme_has_the_chosen_claims_with_links_to_their_pages(root, finished):
    choose(root, {"result": "brand_new-digits", "claim": "a | b\nis *better*"})
    run(Config(add=finished(study()), root=root))
    readme = (root / "README.md").read_text()
    assert "Of 1 claims that were tested: 1 reproduced." in readme
    measured = "a - b: +68.00 points (95 % interval +59.00 to +77.00)"
    data = "[digits](docs/results/brand_new-digits.md)"
    row = rf"| a \| b is \*better\* | no figure | {measured} | reproduced | {data} |"
    assert row in readme


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"result": "brand_new-digits", "claim": "gone"}, "'claim': 'gone'.*it is 0"),
        ({"result": "lost", "claim": "a"}, "'lost'.*no kept result"),
        ({"result": "brand_new-digits"}, "must have result and claim"),
        ({"result": "brand_new-digits", "claim": "a", "att": "b"}, "must have result and claim"),
    ],
)
def test_a_highlight_that_is_no_claim_is_named_and_nothing_is_written(
    root, finished, entry, message
):
    choose(root, entry)
    with pytest.raises(ValueError, match=message):
        run(Config(add=finished(study()), root=root))
    assert "former" in (root / "README.md").read_text() and not (root / "docs").exists()


def test_a_claim_that_was_tested_twice_needs_its_place(root, finished):
    rows = [{**study()["claims"][0], "claim": "c", "at": at} for at in ("here", "there")]
    choose(root, {"result": "brand_new-digits", "claim": "c"})
    with pytest.raises(ValueError, match=r"it is 2.*'here'"):
        run(Config(add=finished(study(claims=rows)), root=root))
    choose(root, {"result": "brand_new-digits", "claim": "c", "at": "there"})
    run(Config(root=root))
    assert "| c, there |" in (root / "README.md").read_text()


# What is kept in the repository --------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A copy of the repository's results with all pages."""
    root = tmp_path_factory.mktemp("repository")
    for folder in ("results", "benchmarks/results"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    shutil.copy(REPOSITORY / "README.md", root)
    run(Config(root=root))
    return root


def texts(root):
    return {path: path.read_bytes() for path in [root / "README.md", *root.glob("docs/**/*.md")]}


def test_writing_twice_changes_nothing(written):
    once = texts(written)
    run(Config(root=written))
    assert texts(written) == once and len(once) == len(KEPT) + 3


def test_every_link_leads_to_a_file_and_every_table_is_whole(written):
    for path in written.glob("docs/results/*.md"):
        text = path.read_text()
        for target in re.findall(r"\]\((.*?)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
            assert (path.parent / target).is_file(), (path.name, target)
        cells = 0
        for line in text.splitlines():
            number = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert number == cells or cells == 0 or number == 0, (path.name, line)
            cells = number


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_result_has_a_page_with_all_that_a_reader_needs(written, name):
    result = json.loads((REPOSITORY / f"results/{name}.json").read_text())
    page = (written / f"docs/results/{name}.md").read_text()
    assert "\n## How it was run\n\n* data: " in page and "\n* device: " in page
    assert "```text\n" in page
    figures = {*REPOSITORY.glob(f"results/{name}.png"), *REPOSITORY.glob(f"results/{name}-*.png")}
    assert {f"{stem}.png" for stem in re.findall(r"!\[(.*?)\]", page)} == {p.name for p in figures}
    rows = claims.read_rows(result)
    verdicts = {"reproduced", "contradicted", "undecided", "not comparable"}
    for row in rows:
        assert row["claim"] and row["difference"] and row["verdict"] in verdicts
    section = page.partition("\n## Claims\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) == (len(rows) + 2 if rows else 0)
    assert not any(re.search(r"\|\s*\|", line) for line in lines)


def test_the_readmes_table_is_short(written):
    section = (written / "README.md").read_text().partition(BEGIN)[2].partition(END)[0]
    assert 15 <= sum(line.startswith("| ") for line in section.splitlines()) - 2 <= 25


def test_the_benchmarks_have_a_page(written):
    page = (written / "docs/results/benchmarks.md").read_text()
    for name in ("against_pytorch", "members", "frozen", "startup"):
        assert f"`python -m benchmarks.{name}`" in page
    assert "| resnet20 | training step | 267.8 (249.4 to 293.8) |" in page
