"""The kind of fault: the number of threads follows the machine, not what this process may use of it.

Siblings: affinity; quotas of control groups of both versions, of a parent group, seen from within a container and from
outside; the option, the environment, several processes; threads that spin while they wait.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spectag.cores import choose_threads, count_cores, describe_threads, wait_asleep

V1, V2 = "sys/fs/cgroup/cpu", "sys/fs/cgroup"


@pytest.fixture
def many(monkeypatch):
    """A machine of 16 cores, all of which this process may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def v1(group: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {f"{V1}{group}/cpu.cfs_quota_us": str(quota), f"{V1}{group}/cpu.cfs_period_us": str(period)}


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/", {f"{V2}/cgroup.procs": ""}, 16),  # not in a group
        ("0::/", {f"{V2}/cpu.max": "400000 100000"}, 4),  # a container with version 2
        ("0::/", {f"{V2}/cpu.max": "max 100000"}, 16),
        ("0::/a/b", {f"{V2}/a/b/cpu.max": "150000 100000"}, 2),  # 1.5 cores
        ("0::/a/b", {f"{V2}/a/b/cpu.max": "max 100000", f"{V2}/a/cpu.max": "300000 100000"}, 3),  # of the parent
        ("0::/a/b", {f"{V2}/a/b/cpu.max": "800000 100000", f"{V2}/a/cpu.max": "200000 100000"}, 2),
        ("0::/a", {f"{V2}/a/cpu.max": "5000 100000"}, 1),  # a twentieth of a core
        ("0::/../../other", {f"{V2}/cpu.max": "200000 100000"}, 2),  # from outside of the namespace
        ("4:cpu,cpuacct:/docker/12ab\n0::/", v1("", 250_000), 3),  # a container with version 1 names the host's group
        ("4:cpuacct,cpu:/a\n3:cpuset:/\n1:name=systemd:/", v1("/a", 100_000, 50_000), 2),
        ("4:cpu:/a", v1("/a", -1), 16),
        ("4:cpuset:/a", v1("/a", 100_000), 16),  # another controller's group
        ("0::/a", {f"{V2}/a/cpu.max": "damaged"}, 16),
        ("0::/a", {f"{V2}/a/cpu.max": "6400000 100000"}, 16),  # more than there are
    ],
)
def test_cores_follow_the_quota(many, tmp_path, groups, files, cores):
    assert count_cores(write(tmp_path, {"proc/self/cgroup": groups, **files})) == cores


def test_without_control_groups_there_is_the_affinity(many, tmp_path, monkeypatch):
    assert count_cores(tmp_path) == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert count_cores(tmp_path) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_cores(tmp_path) == 16


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_that_is_bound_to_one_core_counts_one():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from spectag.cores import count_cores; print(count_cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"1"


def test_threads_are_those_asked_for_or_one_for_each_core(many, monkeypatch):
    cores = count_cores()  # this machine may have a quota
    assert choose_threads() == cores
    assert choose_threads(processes=2) == max(1, cores // 2)
    assert choose_threads(processes=99) == 1
    assert choose_threads(40) == 40
    for value, number in (("3", 3), ("5,2", 5), ("many", cores), ("0", cores), ("", cores)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert choose_threads() == number, value
    assert choose_threads(2) == 2, "the option wins"


def test_what_was_chosen_is_said_in_a_line(many, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert describe_threads(4) == "4 threads on 4 of 16 cores"
    assert describe_threads(1) == "1 thread on 4 of 16 cores"
    assert describe_threads(2, processes=2) == "2 threads in each of 2 processes, on 4 of 16 cores"


def test_waiting_threads_sleep_unless_somebody_decided_otherwise(monkeypatch):
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

    def decided(**environment):
        for name in names:
            monkeypatch.setenv(name, "")  # restored afterwards
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        wait_asleep()
        return {name: os.environ[name] for name in names if name in os.environ}

    assert decided() == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "300"}
    for name in names:
        assert decided(**{name: "1"}) == {name: "1"}


def test_the_command_line_decides_it_before_torch_is_loaded():
    """The library of threads reads the environment when it is loaded, and never again."""
    code = (
        "import os, sys\n"
        "import spectag.cores\n"
        "before = spectag.cores.wait_asleep\n"
        "import spectag.cli.main as main\n"
        "main.wait_asleep = lambda: (before(), print('torch' in sys.modules, flush=True))\n"
        "main.main(['info', 'esc10'])\n"
        "print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("False", "True PASSIVE")
