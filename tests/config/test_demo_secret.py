"""The demo secret: made once, kept, for its owner alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config.demo_secret import demo_secret, existing_demo_secret


def test_the_demo_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "dir"
    assert existing_demo_secret(data_dir) is None
    secret = demo_secret(data_dir)
    assert len(secret) >= 32
    assert demo_secret(data_dir) == secret == existing_demo_secret(data_dir)
    assert (data_dir / "demo-secret").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in data_dir.iterdir()] == ["demo-secret"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: demo_secret(tmp_path), range(32)))) == 1


def test_an_empty_secret_is_never_used(tmp_path: Path) -> None:
    (tmp_path / "demo-secret").touch()
    with pytest.raises(OSError, match="is empty"):
        demo_secret(tmp_path)
