"""The benchmark compares like with like; nothing here is timed."""

import subprocess
import sys
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, close

sys.path.insert(0, str(ROOT))
from benchmarks import __main__ as bench
from benchmarks import goals, loops, measure, models, report
from minivae import VAE, TrainConfig, fit
from minivae.completion import quadrants


@pytest.fixture
def x():
    noise = torch.Generator().manual_seed(1)
    return (torch.rand(32, 784, generator=noise) < 0.2).float()


def test_the_standard_network_as_a_vae_has_the_same_loss(x):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        standard = loops.Standard()
        standard.mu.weight.data *= 5
        torch.manual_seed(3)
        ours = standard(x)
        torch.manual_seed(3)
        terms = standard.as_vae()(x)
    close(terms["loss"].mean(), ours)
    assert terms["kl"].mean() > 0.001 * ours  # or a lost KL would not show


def test_the_bare_step_has_the_gradient_of_the_loop(small):
    model, bare = VAE(20, (400,)), loops.Bare()
    bare.load_state_dict(model.state_dict())
    seen, gradients = {}, {}
    model.encoder.register_forward_hook(
        lambda _, given, out: seen.update(x=given[0], code=out)
    )
    model.decoder.register_forward_hook(
        lambda _, given, out: seen.update(z=given[0])
    )
    for name, weight in model.named_parameters():
        weight.register_post_accumulate_grad_hook(
            lambda w, name=name: gradients.update({name: w.grad.clone()})
        )
    config = TrainConfig(
        epochs=1, batch_size=len(small), precision="float32", compile="no"
    )
    fit(model, small, config, progress=False)
    mu, logvar = seen["code"].detach().chunk(2, -1)
    noise = (seen["z"].detach() - mu) / (0.5 * logvar).exp()
    bare(seen["x"].flatten(1), noise).backward()
    assert gradients.keys() == dict(bare.named_parameters()).keys()
    for name, weight in bare.named_parameters():
        error = (weight.grad - gradients[name]).norm()
        assert error <= 1e-4 * gradients[name].norm(), name


def test_the_bare_step_learns_until_the_clock_ends_it():
    sizes = []

    def tick(n):
        sizes.append(n)
        if len(sizes) == 3:
            raise loops.Enough

    with torch.random.fork_rng(devices=[]), pytest.raises(loops.Enough):
        loops.bare(tick, torch.float32, batch=8)
    assert sizes == [8, 8, 8]


def test_a_rate_leaves_out_the_first_digits(monkeypatch):
    now = iter([10.0, 14.0])
    monkeypatch.setattr(loops.time, "perf_counter", lambda: next(now))
    clock = loops.Clock(digits=100, warm=50)
    for _ in range(5):
        clock(30)  # 60 to warm up, then 90: not yet enough
    assert clock.rate is None
    with pytest.raises(loops.Enough):
        clock(30)
    assert clock.rate == 120 / 4


def test_each_loop_that_is_named_can_be_measured():
    known = {*measure.LOOPS, *loops.BARE, *loops.MINIVAE}
    assert known == set(bench.LOOPS)
    assert {name for pair in report.RATIOS for name in pair[:2]} <= known
    for options in loops.MINIVAE.values():
        TrainConfig(**options)


def test_a_ratio_is_taken_within_a_round():
    # the machine is half as fast in the second round
    assert report.ratio([80.0, 40.0], [20.0, 10.0]) == [4.0, 4.0]
    assert report.spread([1.0, 2.0, 3.0, 4.0, 9.0]) == (2.0, 3.0, 4.0)
    assert report.spread([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="zip"):
        report.ratio([1.0, 2.0], [1.0])


def test_tables_show_medians_quartiles_and_whether_an_aim_is_met():
    rates = {
        "standard": [1000.0, 500.0, 1000.0],
        "minivae": [8000.0, 4000.0, 6000.0],
        "minivae-classic": [3000.0, 1500.0, 3000.0],
    }
    assert "6,000 (5,000 to 7,000)" in report.rates_table(rates)
    lines = report.ratios_table(rates).splitlines()
    assert len({len(line) for line in lines}) == 1
    classic, default = lines[2:]
    assert "minivae-classic / standard" in classic
    assert "3.00 (3.00 to 3.00)" in classic
    assert "at least 4.00: no" in classic
    assert "8.00 (7.00 to 8.00)" in default
    assert "at least 7.00: yes" in default


def test_quality_is_held_against_the_standard_run():
    table = report.quality_table(
        {
            "standard": {"elbo": [-102.0], "seconds": [50.0]},
            "minivae": {"elbo": [-102.5], "seconds": [10.0]},
            "minivae-short": {"elbo": [-101.9], "seconds": [4.0]},
        }
    )
    _, _, standard, default, short = table.splitlines()
    assert "yes" not in standard and "no" not in standard
    assert "-0.50: no" in default and "0.200" in default
    assert "+0.10: yes" in short
    assert "at most 0.100: yes" in short


def test_memory_is_held_against_torch_and_the_data():
    table = report.memory_table({"base": [500.0], "minivae": [700.0]})
    assert table.splitlines()[-1].split(" | ")[2:] == [
        "1.40 ",
        "at most 1.30: no |",
    ]


def test_compiling_pays_when_what_it_saves_is_what_it_costs():
    assert report.pays_from(cost=12.0, eager=1.0, compiled=0.75) == 48
    table = report.compile_table({"cold": [12.1]}, 1.0, 0.75)
    assert "49 epochs" in table
    assert "never" in report.compile_table({"cold": [12.1]}, 1.0, 1.1)


def test_a_goal_is_reached_only_if_every_seed_reaches_it():
    found = {
        "conv": [
            {"elbo": -90.0, "log_likelihood": v, "parameters": 5}
            for v in (-87.0, -88.5, -87.5)
        ],
        "labels": [{"error": v, "alone": 0.3} for v in (0.03, 0.04, 0.05)],
    }
    lines = report.models_table(found).splitlines()[2:]
    assert len(lines) == 5  # what was not measured is left out
    by_name = {line.split("|")[1].strip(): line for line in lines}
    row = by_name["log p(x), convolutions"]
    assert "-87.50 (-88.00 to -87.25)" in row
    assert "at least -88.00: no" in row and "IWAE-50" in row
    assert "at most 0.050: yes" in by_name["test error, 100 labels"]
    found["labels"][1]["error"] = 0.051
    assert "at most 0.050: no" in report.models_table(found)


def test_the_answer_without_a_code_is_scored_as_it_was_trained(small):
    trial = SimpleNamespace(fit=lambda model, **rest: model, seed=1)
    trial.test = small[:20]
    found = models.completion(trial)
    answer, x = models.Answer(4, (400, 200), seed=1), trial.test.x()
    for given in (1, 2, 3):
        answer.hide = lambda x, noise, given=given: x.masked_fill(
            ~quadrants((1, 28, 28), given), torch.nan
        )
        nats = answer(x)["loss"].mean().item()
        assert abs(found[f"answer_{given}"] - nats) < 1e-3
    assert abs(found["answer_1"] - found["nll_1"]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("task", goals.TASKS)
def test_each_model_is_trained_and_gives_what_its_goals_ask_for(task):
    found = models.TASKS[task](models.Trial(0, quick=True))
    asked = {goal.key for goal in goals.GOALS if goal.task == task}
    assert asked <= found.keys()
    assert all(isinstance(value, (int, float)) for value in found.values())


def runner(rounds=2):
    """A Bench that has started nothing."""
    one = bench.Bench.__new__(bench.Bench)
    one.args, one.found, one.failed = Namespace(rounds=rounds), {}, False
    return one


def test_jobs_run_in_turn_and_one_that_fails_is_named(monkeypatch, capsys):
    calls = []

    def process(name, seed):
        calls.append(name + seed)
        if name + seed == "b1":
            raise bench.ProcessError("no memory")
        return SimpleNamespace(seed=seed)

    monkeypatch.setattr(bench, "process", process)
    one = runner(rounds=3)
    found = one.in_turn({name: (name, "SEED") for name in "abc"})
    assert " ".join(calls) == "a0 b0 c0 a1 b1 c1 a2 c2"
    assert {name: len(results) for name, results in found.items()} == {
        "a": 3,
        "c": 3,
    }
    assert one.failed and one.found["skipped"] == {"b": "no memory"}
    assert "b skipped: no memory" in capsys.readouterr().out


def test_the_shortest_run_is_as_good_with_every_seed(monkeypatch):
    one = runner(rounds=2)
    one.args.epochs, one.train = 5, ()
    elbo = {("1", "0"): -110.0, ("2", "0"): -101.0, ("2", "1"): -103.0}

    def process(*words):
        score = elbo.get((words[-3], words[-1]), -100.0)
        return {"test": {"elbo": score}}

    monkeypatch.setattr(bench, "process", process)
    assert one.shortest(-102.0, []) == 3
    assert one.shortest(-90.0, []) == 5


def test_a_process_gives_its_json_its_seconds_and_its_peak():
    result = bench.process("-c", "print('text'); print('{\"a\": 1}')")
    assert result["a"] == 1
    assert result["seconds"] > 0
    assert result["peak"] > 1  # MB
    with pytest.raises(bench.ProcessError, match="ValueError: bad"):
        bench.process("-c", "raise ValueError('bad')")


def test_the_command_stays_small_for_the_sake_of_the_peaks():
    code = "import benchmarks.__main__, sys; print('torch' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert shown.stdout.strip() == "False", shown.stderr


@pytest.mark.parametrize(
    "words", (("--rounds", "0"), ("--epochs", "-1"), ("--out", "no/such/x"))
)
def test_bad_options_end_before_anything_is_measured(
    words, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    monkeypatch.setattr(bench, "Bench", None)  # must not be reached
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err
