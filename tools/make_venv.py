"""Set up .venv from requirements.lock: `make setup` calls this with the system's Python and nothing installed."""

# Runs under whatever Python the machine has, so that one that is too old is told so: no syntax newer than 3.6.
import glob
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
VENV_PYTHON = os.path.join(VENV, "bin", "python")
LOCK = os.path.join(ROOT, "requirements.lock")
LOG = os.path.join(VENV, "setup.log")
OLDEST = (3, 11)
HEARTBEAT_S = 15.0
CPU_TORCH = "https://download.pytorch.org/whl/cpu"


def fail(*lines):
    print("error: " + "\n       ".join(lines), file=sys.stderr)
    sys.exit(2)


def check_python():
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        fail(
            "{} is Python {}; undrift needs {}.{} or newer.".format(sys.executable, have, *OLDEST),
            "Debian 12 or newer, Ubuntu 24.04 or newer: sudo apt-get install python3 python3-venv",
            "another Python that you have: make setup PYTHON=/path/to/python3",
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        fail(
            "this Python ({}) cannot make virtual environments.".format(sys.executable),
            "install its venv module: sudo apt-get install python3-venv",
        )


def megabytes(folder):
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:  # pip moves files while we count
                pass
    return total / 1e6


def stage(title, command, begin):
    """Run one command, its output in the log; say how it goes every few seconds, and why it failed if it does."""
    print("[{:4.0f} s] {}".format(time.monotonic() - begin, title), flush=True)
    with open(LOG, "a") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        while True:
            try:
                code = process.wait(HEARTBEAT_S)
                break
            except subprocess.TimeoutExpired:
                elapsed = time.monotonic() - begin
                print("[{:4.0f} s]   still at it, .venv holds {:.0f} MB".format(elapsed, megabytes(VENV)), flush=True)
    if code:
        with open(LOG) as log:
            tail = log.read().strip().splitlines()[-8:]
        fail(*["'{}' failed; the end of .venv/setup.log:".format(title)] + tail + ["then run the same make again."])


def locked(name):
    """The lock file's line for one distribution, as 'name==version'."""
    with open(LOCK) as lock:
        for line in lock:
            if line.split("==")[0].strip().lower() == name:
                return line.split(";")[0].split("#")[0].strip()
    raise KeyError("{} is not in requirements.lock".format(name))


def main(groups, torch_index):
    check_python()
    begin = time.monotonic()
    if not glob.glob(os.path.join(VENV, "lib", "*", "site-packages", "pip", "__main__.py")):
        os.makedirs(VENV, exist_ok=True)
        stage(
            "creating .venv with Python {}.{}".format(*sys.version_info[:2]),
            [sys.executable, "-m", "venv", VENV],
            begin,
        )
    pip = [VENV_PYTHON, "-m", "pip", "install", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    pip += ["--constraint", LOCK]
    if torch_index:
        pip += ["--extra-index-url", torch_index]
    stage("installing the build tools", pip + [locked("pip"), locked("hatchling")], begin)
    if not torch_index and sys.platform == "linux" and not glob.glob(os.path.join(VENV, "lib", "*", "*", "torch")):
        print("         PyTorch from PyPI may bring several GB of CUDA; its CPU build alone: press Ctrl-C, then")
        print("         make setup TORCH_INDEX={}".format(CPU_TORCH))
    stage("installing PyTorch, the largest part", pip + [locked("torch")], begin)
    chosen = [word for group in groups for word in ("--group", group)]
    editable = ["--no-build-isolation", "--editable", "."]
    stage("installing undrift and what it needs ({})".format(", ".join(groups)), pip + editable + chosen, begin)
    print("[{:4.0f} s] done, .venv holds {:.0f} MB".format(time.monotonic() - begin, megabytes(VENV)), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:], os.environ.get("TORCH_INDEX", ""))
    except KeyboardInterrupt:
        fail("interrupted; the same make goes on from here.")
