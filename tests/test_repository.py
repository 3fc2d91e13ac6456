"""What surrounds the code: workflows, forms, image, hooks, make, guides.

None of it can run here as it does on its own machines. So everything that can
be read is read, and every command that is cheap enough is run.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import minivae
from minivae.__main__ import parser

GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
MAKEFILE = (ROOT / "Makefile").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
# make must not believe that it is a part of `make test`
ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
}
needs_make = pytest.mark.skipif(
    shutil.which("make") is None, reason="needs make"
)
needs_bash = pytest.mark.skipif(
    shutil.which("bash") is None, reason="needs bash"
)


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def locked(name):
    """The version of a package in the lock."""
    (version,) = re.findall(rf"^{name}==(\S+)", LOCK, re.M)
    return version


# --- workflows --------------------------------------------------------------

WORKFLOWS = {p.name: read(p) for p in sorted(GITHUB.glob("workflows/*.yml"))}
JOBS = {
    f"{file} {name}": job
    for file, workflow in WORKFLOWS.items()
    for name, job in workflow["jobs"].items()
}
STEPS = [(place, step) for place, job in JOBS.items() for step in job["steps"]]
SHELL = [
    pytest.param(step["run"], id=f"{place}: {step['name']}")
    for place, step in STEPS
    if "run" in step
]
# what a job may do besides reading, and why it must
MORE = {"site.yml deploy": {"pages": "write", "id-token": "write"}}
# what may stand in ${{ }}: nothing that somebody else can write
TRUSTED = re.compile(
    r"matrix\.\w+|github\.ref|github\.event_name == 'pull_request'"
    r"|runner\.temp|steps\.deployment\.outputs\.page_url"
)
workflow = pytest.mark.parametrize("file", WORKFLOWS)
job = pytest.mark.parametrize("place", JOBS)
shell = pytest.mark.parametrize("text", SHELL)


def run_of(file, name):
    """The shell of the step of this name."""
    (text,) = (
        step["run"]
        for place, step in STEPS
        if place.startswith(f"{file} ") and step.get("name") == name
    )
    return text


def test_there_are_workflows_for_tests_site_claims_and_image():
    assert set(WORKFLOWS) >= {
        "tests.yml",
        "site.yml",
        "weekly.yml",
        "dockerfile.yml",
    }


@workflow
def test_a_workflow_may_only_read(file):
    assert WORKFLOWS[file]["permissions"] == {"contents": "read"}
    # YAML reads the word on as true
    events = WORKFLOWS[file][True]
    assert set(events) <= {
        "push",
        "pull_request",
        "schedule",
        "workflow_dispatch",
    }
    if "push" in events:
        assert events["push"]["branches"] == ["main"]
    assert WORKFLOWS[file]["concurrency"]["group"]


@job
def test_a_job_has_no_more_rights_and_time_than_it_needs(place):
    assert JOBS[place].get("permissions", {}) == MORE.get(place, {})
    assert 0 < JOBS[place]["timeout-minutes"] <= 150
    assert re.fullmatch(r"ubuntu-\d\d\.\d\d", JOBS[place]["runs-on"])
    assert "secrets" not in JOBS[place]


@workflow
def test_every_action_is_pinned_to_a_commit(file):
    text = (GITHUB / "workflows" / file).read_text()
    used = re.findall(r"^\s*(?:- )?uses: *(.*)$", text, re.M)
    assert used
    for line in used:
        assert re.fullmatch(
            r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line
        ), line


def test_an_action_has_one_version_in_all_workflows():
    versions = {}
    for _, step in STEPS:
        if "uses" in step:
            name, _, commit = step["uses"].partition("@")
            versions.setdefault(name, set()).add(commit)
            if name == "actions/checkout":
                assert step["with"]["persist-credentials"] is False
    assert all(len(commits) == 1 for commits in versions.values()), versions


@workflow
def test_no_workflow_holds_a_secret_or_foreign_text(file):
    text = (GITHUB / "workflows" / file).read_text()
    assert not re.search(r"\bsecrets\b|github\.token|GITHUB_TOKEN", text)
    for found in re.findall(r"\$\{\{(.*?)\}\}", text, re.S):
        assert TRUSTED.fullmatch(found.strip()), found


@shell
def test_a_step_in_a_shell_stops_at_the_first_error(text):
    assert text.startswith("set -euo pipefail\n")
    assert "${{" not in text, "hand it over in env"


@workflow
def test_the_shell_is_bash(file):
    assert WORKFLOWS[file]["defaults"] == {"run": {"shell": "bash"}}


def parts(text):
    """A script, and the scripts that it hands to another bash."""
    yield text
    yield from re.findall(r"bash -euc '\n(.*?)'", text, re.S)


@needs_bash
@shell
def test_a_step_can_be_read_by_bash(text):
    for part in parts(text):
        done = subprocess.run(
            ["bash", "-n"], input=part, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        if shellcheck := shutil.which("shellcheck"):
            done = subprocess.run(
                [shellcheck, "--shell=bash", "-"],
                input=part,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout


def targets(text):
    """What make is asked for."""
    return re.findall(r"\bmake ([a-z.][\w./-]*)", text)


@needs_make
@shell
def test_every_target_of_a_step_exists(text):
    for target in targets(text):
        done = subprocess.run(
            ["make", "-n", target],
            cwd=ROOT,
            env=ENVIRON,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@shell
def test_what_a_step_gives_to_python_exists(text):
    for file in re.findall(r"python ((?:\w+/)+\w+\.py)", text):
        assert (ROOT / file).is_file(), file
    for module in re.findall(r"python -m ([\w.]+)", text):
        # a runner's Python has pip, an environment made by uv has not
        assert module == "pip" or importlib.util.find_spec(module), module
    for extras in re.findall(r"\.\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= EXTRAS.keys()


def test_the_steps_are_found_whose_commands_are_tested():
    """Else the tests above might have nothing to look at."""
    everything = "\n".join(param.values[0] for param in SHELL)
    assert {"test-all", "book", "refresh", ".venv/.ready"} <= set(
        targets(everything)
    )
    assert "python -m pytest" in everything


def test_the_oldest_torch_is_the_one_that_the_project_names():
    text = run_of("tests.yml", "Install what pyproject.toml allows at least")
    for name in ("torch", "torchvision"):
        (bound,) = (
            r.specifier
            for r in map(Requirement, PROJECT["dependencies"])
            if r.name == name
        )
        version = str(bound).removeprefix(">=")
        assert f'"{name}=={version}.*"' in text


def test_the_supported_versions_of_python_are_tried():
    named = JOBS["tests.yml locked"]["strategy"]["matrix"]["python"]
    oldest = str(SpecifierSet(PROJECT["requires-python"])).removeprefix(">=")
    assert named[0] == oldest
    assert len(named) > 1
    assert named == sorted(named, key=Version)


# --- commands of workflows that are cheap enough to be run ------------------

FAKE_MAKE = """\
#!/usr/bin/env bash
echo "$2 ..."
case "$2" in
  CHAPTER=02_*) echo "AssertionError: not true here: Two. (x = 7)"; exit 2;;
  CHAPTER=01_*) sed -i s/1.00/3.00/ book/appendix/claims.md;;
esac
echo "1 s"
"""


@needs_bash
def test_the_weekly_report_names_what_moved_and_what_failed(tmp_path):
    """Its two steps run for real; only `make refresh` is made up."""
    work = tmp_path / "work"
    (work / "book" / "appendix").mkdir(parents=True)
    for name in ("01_one", "02_two", "try_it"):
        (work / "book" / f"{name}.ipynb").write_text("{}")
    (work / "book" / "appendix" / "claims.md").write_text("`x = 1.00`\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        [*who, "commit", "--quiet", "-m", "First"],
    ):
        subprocess.run(["git", *words], cwd=work, check=True)
    (tmp_path / "make").write_text(FAKE_MAKE)
    (tmp_path / "make").chmod(0o755)
    env = ENVIRON | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }

    def step(name):
        return subprocess.run(
            ["bash", "-c", run_of("weekly.yml", name)],
            cwd=work,
            env=env,
            capture_output=True,
            text=True,
        )

    ran = step("Run each chapter anew")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("1 s\n") == 2
    assert "02_two failed:" in ran.stdout
    logs = [path.name for path in (tmp_path / "logs").iterdir()]
    assert logs == ["02_two.log"]
    reported = step("Report the claims that moved")
    assert reported.returncode == 1, reported.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert "02_two failed: not true here: Two. (x = 7)" in summary
    assert "-`x = 1.00`\n+`x = 3.00`\n" in summary
    assert "try_it" not in summary
    (tmp_path / "logs" / "02_two.log").unlink()
    assert step("Report the claims that moved").returncode == 0


SMOKE = "The package trains, without a network and as no root"
TRAINS = re.findall(
    r"^ *python (-m minivae .*)$", run_of("dockerfile.yml", SMOKE), re.M
)


def test_what_is_tried_in_the_image_is_understood():
    """The tests of the README run the same commands."""
    assert len(TRAINS) == 2
    for line in TRAINS:
        _, module, *words = shlex.split(line)
        assert module == "minivae"
        assert parser().parse_args(words).checkpoint == "vae.pt"


def test_the_check_of_links_leaves_out_what_it_cannot_know():
    text = (GITHUB / "lychee.toml").read_text()
    exclude = [re.compile(p) for p in tomllib.loads(text)["exclude"]]

    def is_checked(address):
        return not any(p.search(address) for p in exclude)

    repository = "https://github.com/someone/minivae"
    assert is_checked("https://doi.org/10.1119/1.18809")
    assert is_checked(repository)
    for address in (
        f"{repository}/edit/main/book/intro.md",
        f"{repository}/issues/new?title=x",
        "https://mybinder.org/v2/gh/someone/minivae/main?urlpath=x",
        "https://colab.research.google.com/github/someone/minivae/x.ipynb",
        "https://someone.github.io/minivae/book/intro.html",
        "https://github.com/your--name/minivae",
        "https://mybinder.org/v2/git/REPOSITORY/main",
    ):
        assert not is_checked(address), address


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("zizmor", ["--offline", "--persona=pedantic", ".github"]),
        ("hadolint", ["Dockerfile"]),
    ],
)
def test_a_linter_finds_nothing(tool, words):
    """Where it is installed; on GitHub it always runs."""
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"no {tool} on the PATH")
    done = subprocess.run(
        [program, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- forms, dependabot, citation --------------------------------------------

FORMS = sorted(
    path
    for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml")
    if path.name != "config.yml"
)


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.stem)
def test_an_issue_form_is_one_that_github_shows(path):
    form = read(path)
    assert form["name"] and form["description"]
    assert any(part["type"] != "markdown" for part in form["body"])
    ids, labels = [], []
    for part in form["body"]:
        attributes = part["attributes"]
        if part["type"] == "markdown":
            assert attributes["value"].strip()
            continue
        assert part["type"] in ("input", "textarea", "dropdown", "checkboxes")
        ids.append(part["id"])
        labels.append(attributes["label"])
        if part["type"] in ("dropdown", "checkboxes"):
            assert attributes["options"]
    assert len(set(ids)) == len(ids)
    assert len(set(labels)) == len(labels)


def test_there_are_forms_for_bugs_mistakes_and_ideas():
    assert {path.stem for path in FORMS} == {"bug", "idea", "mistake"}


def test_actions_packages_and_image_are_kept_up_to_date():
    settings = read(GITHUB / "dependabot.yml")
    assert settings["version"] == 2
    kinds = {}
    for one in settings["updates"]:
        kinds[one["package-ecosystem"]] = one["schedule"]["interval"]
        for folder in one.get("directories", [one.get("directory")]):
            assert (ROOT / folder.lstrip("/")).is_dir()
    assert kinds == dict.fromkeys(
        ("github-actions", "pip", "docker"), "weekly"
    )


def test_the_citation_is_one_that_tools_can_read():
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    for key in ("message", "title", "authors"):
        assert citation[key], key
    assert citation["version"] == minivae.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["type"] in ("software", "dataset")
    names = [author["name"] for author in citation["authors"]]
    assert names == [author["name"] for author in PROJECT["authors"]]
    assert citation["title"] == read(ROOT / "_config.yml")["title"]


# --- image ------------------------------------------------------------------

DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    line.strip()
    for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines()
    if line.strip() and not line.startswith("#")
]


def test_the_image_is_pinned_and_runs_as_no_root():
    (base,) = (x for x in INSTRUCTIONS if x.startswith("FROM "))
    assert re.fullmatch(
        r"FROM quay\.io/jupyter/minimal-notebook:\d{4}-\d\d-\d\d", base
    )
    # the base ends as the user of the notebook, and so does this one
    assert not any(re.match(r"USER\b.*root", x) for x in INSTRUCTIONS)
    assert not any(re.search(r"\bsudo\b", x) for x in INSTRUCTIONS)
    # start, health check and entry point stay those that a hub expects
    kinds = {x.split()[0] for x in INSTRUCTIONS}
    assert kinds.isdisjoint({"CMD", "ENTRYPOINT", "HEALTHCHECK", "ADD"})
    for copy in (x for x in INSTRUCTIONS if x.startswith("COPY ")):
        assert "--chown=${NB_UID}:${NB_GID}" in copy


def test_the_image_has_what_chapters_and_grading_need():
    run = " ".join(x for x in INSTRUCTIONS if x.startswith("RUN "))
    named = re.findall(r"--extra (\w+)", run)
    assert named == ["book", "course"]
    assert set(named) <= EXTRAS.keys()
    assert "--constraints requirements.lock" in run


def test_the_image_holds_no_solutions():
    patterns = (ROOT / ".dockerignore").read_text().split("\n")
    patterns = [p for p in patterns if p and not p.startswith("#")]
    assert patterns[0] == "*"  # what is not named stays outside
    back = {p[1:] for p in patterns if p.startswith("!")}
    assert all((ROOT / name).exists() for name in back)
    assert back.isdisjoint({"course", "tests"})
    # the build needs these
    assert back >= {"pyproject.toml", "requirements.lock", "minivae"}
    assert "course/minivae_course" in back
    assert PROJECT["readme"] in back
    assert set(PROJECT["license-files"]) <= back


def test_one_version_of_uv_is_used_everywhere():
    (version,) = re.findall(r"^UV_VERSION = (\S+)$", MAKEFILE, re.M)
    assert re.findall(r"UV_VERSION=([\d.]+)$", DOCKERFILE, re.M) == [version]


# --- hooks ------------------------------------------------------------------


def test_every_hook_is_pinned_and_ruff_is_the_locked_one():
    hooks = [
        hook
        for repository in read(ROOT / ".pre-commit-config.yaml")["repos"]
        for hook in repository["hooks"]
        if repository["repo"] == "local"
        or re.fullmatch(r"v?\d+(\.\d+)+", repository["rev"])
    ]
    assert len(hooks) == len({hook["id"] for hook in hooks})
    for hook in hooks:
        assert hook["language"] == "python"
        (package,) = hook["additional_dependencies"]
        name, version = package.split("==")
        if name == "ruff":
            assert version == locked("ruff"), "run make lock, then change it"
    entries = [hook["entry"].split()[:2] for hook in hooks]
    assert ["ruff", "check"] in entries
    assert ["ruff", "format"] in entries


# --- make -------------------------------------------------------------------


def documented():
    """Each target of the Makefile that `make help` lists -> its line."""
    return dict(re.findall(r"^([a-z-]+):.*## (.*)$", MAKEFILE, re.M))


def by_make(folder, *words):
    """What make would run: the words of each command."""
    done = subprocess.run(
        ["make", "-n", *words],
        cwd=folder,
        env=ENVIRON,
        capture_output=True,
        text=True,
        check=True,
    )
    commands = []
    for line in re.sub(r"\\\n", " ", done.stdout).splitlines():
        found = tuple(shlex.split(line))
        # words to the reader and stamps, and make's talk about folders
        if found and not re.match(r"(echo|touch|test|make)\b", line):
            commands.append(found)
    return commands


PRINTS = """
print:
	@printenv MINIVAE_DATA
address:
	@echo "$(ADDRESS)"
"""


@needs_make
@pytest.mark.parametrize("folder", ["minivae", "a b/minivae", "a b c"])
@pytest.mark.parametrize("data", ["data", "my data", "../d", "ABOUT/a b/d"])
@pytest.mark.parametrize("given", [False, True])
def test_a_folder_may_have_a_space_in_its_path(folder, data, given, tmp_path):
    """Of the repository, or of the data, in the environment or after make."""
    here = tmp_path / folder
    here.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", here)
    (here / "prints.mk").write_text(PRINTS)
    data = data.replace("ABOUT", str(tmp_path))
    words = ["make", "-s", "-f", "Makefile", "-f", "prints.mk", "print"]
    words += [f"MINIVAE_DATA={data}"] if given else []
    done = subprocess.run(
        [*words, "address"],
        cwd=here,
        env=ENVIRON | ({} if given else {"MINIVAE_DATA": data}),
        capture_output=True,
        text=True,
        check=True,
    )
    found, address = done.stdout.splitlines()
    assert Path(found).is_absolute()
    assert Path(found).resolve() == (here / data).resolve()
    page = here.resolve() / "_build" / "html" / "index.html"
    assert address == page.as_uri()


@needs_make
@pytest.mark.parametrize("name", documented())
def test_make_understands_its_commands_in_a_path_with_a_space(name, tmp_path):
    here = tmp_path / "a b" / "minivae"
    here.mkdir(parents=True)
    for file in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / file, here)
    (here / "benchmarks").mkdir()
    shutil.copy(ROOT / "benchmarks/requirements.txt", here / "benchmarks")
    program = tmp_path / "c d" / "python3"
    commands = by_make(here, name, f"PYTHON={program}")
    for words in commands:
        assert not any(word.endswith(("/a", "/c")) for word in words), words
        if str(program.parent.name) in " ".join(words):
            assert str(program) in words


def test_the_pages_are_set_up_from_the_lock():
    assert "-r $(SITE)/site.in" in MAKEFILE
    assert "-c requirements.lock" in MAKEFILE


def test_the_builder_of_pages_stays_out_of_other_folders():
    """It would read each package that is installed beside the book."""
    hidden = read(ROOT / "_config.yml")["exclude_patterns"]
    assert {".venv", ".venv-site", ".venv-bench", ".tools"} <= set(hidden)


# --- guides -----------------------------------------------------------------

GUIDES = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    GITHUB / "pull_request_template.md",
]
# stands for a number, where a recipe tells to write a file
NEW = "NN"
# folders that are not of the repository
OUTSIDE = {"MNIST/raw"}
guide = pytest.mark.parametrize("path", GUIDES, ids=lambda p: p.stem)


def inline(path):
    """What stands in backticks, outside of blocks."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", text)


def blocks(path):
    """Lines of the blocks of shell."""
    found = re.findall(r"^```bash\n(.*?)^```", path.read_text(), re.M | re.S)
    return textwrap.dedent("\n".join(found)).splitlines()


@guide
def test_a_guide_names_only_files_that_exist(path):
    for text in inline(path):
        if " " in text or NEW in text or text in OUTSIDE:
            continue
        if re.fullmatch(r"\.?[\w*.-]+(/[\w*.-]*)*", text) and (
            "/" in text or re.search(r"\.(py|md|yml|toml|cff|lock|bib)$", text)
        ):
            name = text.rstrip("/")
            # a name without a folder may be meant inside of one
            found = [*ROOT.glob(name)] or (
                "/" not in name
                and [
                    f
                    for folder in ("book", "minivae", "tests", "course")
                    for f in (ROOT / folder).rglob(name)
                ]
            )
            assert found, text
    for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", path.read_text()):
        assert (path.parent / link).exists(), link


@guide
def test_a_guide_names_only_commands_that_exist(path):
    lines = [*inline(path), *blocks(path)]
    known = set(documented()) | {".venv/.ready"}
    for line in lines:
        for target in re.findall(r"^make ([a-z.][\w./-]*)", line):
            assert target in known, line
        for file in re.findall(r"\b((?:tests|book|course)/\S+\.py)\b", line):
            assert NEW in file or (ROOT / file).is_file(), line


def test_the_guide_names_every_command():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in documented():
        assert f"`make {name}`" in text, name
