"""A few of the faults of `make faults`, and what is too careless for them."""

from faults import children, files, runs


def test_kills_in_the_middle_of_a_save_lose_nothing():
    assert runs.kills_in_saves(20) == (20, [])


def test_kills_lose_what_is_saved_in_place():
    _, lost = runs.kills_in_saves(20, children.naive_save)
    assert lost


def test_killed_runs_end_with_the_same_bits():
    assert runs.kills(6) == (6, [])


def test_interrupted_runs_end_with_the_same_bits():
    tried, torn = runs.interrupts(8)
    assert tried >= 8
    assert torn == []


def test_interrupts_tear_a_loop_that_takes_them_anywhere():
    _, torn = runs.interrupts(60, children.naive_fit, enough=1)
    assert torn


def test_a_second_interrupt_is_immediate():
    assert runs.second_interrupt() == (2, [])


def test_the_command_line_goes_on_after_each_signal():
    names = ["SIGKILL", "SIGINT", "SIGTERM"]
    assert runs.commands(names, runs.forked_command) == (3, [])


def test_of_two_processes_one_may_be_killed():
    assert runs.one_of_a_pair() == (1, [])


def test_processes_that_start_again_do_not_look_for_the_dead():
    assert runs.started_again() == (10, [])


def test_a_full_disk_leaves_the_old_file():
    assert runs.full_disks(12) == (12, [])


def test_a_full_disk_takes_what_is_saved_in_place():
    _, lost = runs.full_disks(12, children.naive_save)
    assert len(lost) >= 8


def test_a_read_only_folder_is_refused():
    assert runs.read_only_folders() == (4, [])


def test_no_damaged_checkpoint_loads_as_another():
    assert files.corruptions(200) == (200, [], [])


def test_without_a_look_at_the_checksums_many_load():
    _, silent, _ = files.corruptions(200, files.load_unchecked)
    assert len(silent) > 50


def test_other_files_are_refused_and_run_nothing():
    assert files.foreign() == (len(files.OTHERS) + 1, [])
