"""Clusters of processes: workers that die, schedulers that stop, Ctrl-C, buckets of a server; all slow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed", reason="is not installed: pip install 'xent[dask]'")
pytestmark = pytest.mark.slow

SHARDS, ROWS, CLASSES = 20, 100_000, 20


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write twenty shards, which take a few seconds."""
    folder = tmp_path_factory.mktemp("dump")
    random = np.random.default_rng(0)
    for number in range(SHARDS):
        x = random.standard_normal((ROWS, CLASSES), dtype=np.float32) * 4
        x[7, 3] = np.inf if number == 3 else 0
        np.savez(folder / f"s{number:02}.npz", logits=x, labels=random.integers(0, CLASSES, ROWS))
    return folder


def command(dump: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "xentcli", "diagnose", f"{dump}/s*.npz", "--format", "json", *options]


def run(dump: Path | str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(str(dump), *options), capture_output=True, text=True, check=False, timeout=120
    )


def children(word: str) -> list[str]:
    """Return the command lines of processes that have a word in them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_text().replace("\0", " ")
        except OSError:
            continue
        if word in text:
            found.append(text)
    return found


@pytest.fixture(scope="module")
def wanted(dump: Path) -> str:
    found = run(dump)
    assert (found.returncode, found.stderr) == (1, "")
    return found.stdout


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[Path, "list[subprocess.Popen[bytes]]"]]:
    """Start a scheduler and two workers; yield the scheduler's file, and the processes in that order."""
    file, dask = tmp_path / "scheduler.json", [sys.executable, "-m", "dask"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [
        subprocess.Popen(
            [*dask, "scheduler", "--port", "0", "--scheduler-file", str(file), "--no-dashboard"], **quiet
        )
    ]
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)  # it says so by nothing but the file
    worker = [
        *dask,
        "worker",
        "--scheduler-file",
        str(file),
        "--nthreads",
        "1",
        "--no-dashboard",
        "--no-nanny",
    ]
    processes += [subprocess.Popen(worker, **quiet) for _ in range(2)]
    try:
        yield file, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def started(dump: Path, done: Path, *options: str) -> "subprocess.Popen[str]":
    """Start a run in a session of its own, and wait until two shards are done."""
    arguments = command(str(dump), "--resume", str(done), *options)
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not done.exists() or done.read_text().count("\n") < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)  # the file is looked at until two shards are in it
    return process


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_says_the_same(dump: Path, wanted: str, workers: int) -> None:
    found = run(dump, "--dask", f"local:{workers}")

    assert (found.returncode, found.stderr, found.stdout) == (1, "", wanted)
    assert not children("dask-worker")


def test_a_worker_that_dies_costs_a_retry(dump: Path, wanted: str, scheduler: Any, tmp_path: Path) -> None:
    file, processes = scheduler
    with started(dump, tmp_path / "done", "--dask", str(file)) as process:
        processes[1].kill()
        out, err = process.communicate(timeout=120)

    assert (process.returncode, out, err) == (1, wanted, "")


def test_a_scheduler_that_stops_ends_the_run_with_one_message(
    dump: Path, scheduler: Any, tmp_path: Path
) -> None:
    file, processes = scheduler
    with started(dump, tmp_path / "done", "--dask", str(file)) as process:
        processes[0].kill()
        out, err = process.communicate(timeout=120)

    assert (process.returncode, err) == (2, "the connection to the cluster's scheduler was lost\n")
    assert 2 * ROWS <= json.loads(out)["rows"] < SHARDS * ROWS


@pytest.mark.parametrize("where", ["local:2", "FILE"])
def test_ctrl_c_shows_what_was_read_and_leaves_no_process(
    dump: Path, scheduler: Any, tmp_path: Path, where: str
) -> None:
    with started(dump, tmp_path / "done", "--dask", where.replace("FILE", str(scheduler[0]))) as process:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (130, "")
    assert json.loads(out)["complete"] is False
    deadline = time.monotonic() + 10
    while children(f"--multiprocessing-fork {process.pid}"):  # orphans end by themselves
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_bucket_of_a_server_says_the_same(dump: Path, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("moto.server", reason="is not installed: pip install 'moto[server]' s3fs")
    pytest.importorskip("s3fs", reason="is not installed: pip install s3fs")
    started = server.ThreadedMotoServer(port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    for name, value in {
        "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "FSSPEC_S3_KEY": "key",
        "FSSPEC_S3_SECRET": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        upload = (
            "import fsspec, sys\n"
            "system = fsspec.filesystem('s3')\n"
            "system.mkdir('bucket')\n"
            "system.put(sys.argv[1] + '/*.npz', 'bucket/')\n"
        )
        subprocess.run([sys.executable, "-c", upload, str(dump)], check=True)
        for how in ([], ["--dask", "local:2"]):
            found = run("s3://bucket", *how)
            assert (found.returncode, found.stderr) == (1, "")
            assert found.stdout.replace("s3://bucket", str(dump)) == wanted
    finally:
        started.stop()
