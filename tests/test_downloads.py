"""Downloads from servers that are slow or lie, for real and all at once."""

import os
import shutil
import sys
from dataclasses import replace

import pytest
from faults import downloads

from minivae import data

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("openssl"),
    reason="needs fork, and openssl to make a certificate",
)


def test_no_mirror_can_stall_a_load_or_pass_off_a_wrong_file():
    visits = downloads.servers(ways=1)
    assert {v.mirrors[0] for v in visits} >= set(downloads.REFUSED)
    assert downloads.visit(visits) == (len(visits), [])


def test_rotten_files_are_repaired_and_shut_folders_explained():
    visits = downloads.files() + downloads.folders()
    assert downloads.visit(visits) == (len(visits), [])


def test_a_load_that_does_not_look_is_found_out():
    visits = [replace(v, load=downloads.naive) for v in downloads.files()]
    _, wrong = downloads.visit(visits)
    # it may fetch what is missing and read what is whole
    assert len(wrong) == len(visits) - 2


def test_several_loads_at_once_end_with_one_valid_copy_each():
    assert downloads.races(8) == (8, 0)


def test_a_race_is_lost_by_writing_straight_to_the_name():
    tried, failed = downloads.races(8, downloads.naive)
    assert tried == 8
    assert failed > 0


def test_what_a_killed_download_has_left_goes_after_an_hour(tmp_path):
    old, new, other = (tmp_path / n for n in (".a.1.part", ".a.2.part", "b"))
    for file in (old, new, other):
        file.touch()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    data._sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {new, other}
    data._sweep(tmp_path / "not there")
