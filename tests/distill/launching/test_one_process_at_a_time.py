"""A run folder belongs to one process at a time."""

import os
import sys

import pytest

from distill.cli.app import main
from distill.run_folder import only_process
from encoders.errors import InputError


def test_a_second_process_in_the_same_run_folder_is_refused(config_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["repvit-sam", "distill", "--config", str(config_file())])
    with only_process(tmp_path / "run"), pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert f"run is in use: process {os.getpid()} on " in capsys.readouterr().err


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), only_process(tmp_path):
        raise RuntimeError
    with only_process(tmp_path), pytest.raises(InputError), only_process(tmp_path):
        pass
