"""Chapters as tests: patient with a busy machine, and with their times told.

A chapter's seconds are reported, not failed, since machines differ. And all
kernels are forked from one process that has loaded torch and its compiler:
otherwise each of the chapters would spend ten seconds or more on imports.
"""

import multiprocessing
import os
import sys
from collections import defaultdict

from ipykernel.kernelapp import launch_new_instance
from jupyter_client.provisioning import local_provisioner

LIMIT = 60  # seconds on two cores
# nbval reads the messages of a cell when the cell is done, and a socket keeps
# a thousand of them. Progress bars that move ten times a second fill it in a
# minute or two, and then the message that the cell is done is lost.
os.environ.setdefault("TQDM_MININTERVAL", "10")
LOADED = [
    "ipykernel.kernelapp",
    "ipywidgets",
    "matplotlib.figure",
    "sklearn.linear_model",
    "torch._dynamo",
    "torchvision",
]


class Kernel:
    """What `subprocess.Popen` is to jupyter_client, but forked."""

    stdin = stdout = stderr = None

    def __init__(self, command, cwd=None, env=None, **_):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        ours, theirs = context.Pipe()
        place = (command[command.index("-f") :], cwd, env, theirs)
        self.process = context.Process(target=be_kernel, args=place)
        self.process.start()
        theirs.close()  # so that its end would end the next line
        ours.recv()  # it is in a group of its own, as a signal expects
        self.pid = self.process.pid
        self.kill, self.terminate = self.process.kill, self.process.terminate

    def poll(self):
        return self.process.exitcode

    def wait(self):
        self.process.join()
        return self.poll()

    def send_signal(self, number):
        os.kill(self.pid, number)


def be_kernel(arguments, cwd, env, connection):
    """The life of a kernel's process."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    connection.send("ready")
    launch_new_instance(argv=arguments)


if sys.platform == "linux":  # elsewhere a fork of loaded libraries may fail
    local_provisioner.launch_kernel = Kernel


def pytest_collection_modifyitems(items):
    """Give an output a minute to arrive; nbval alone gives it 5 s.

    And compare the plain text alone: what a page shows instead of it holds
    measured values too.
    """
    for item in items:
        item.output_timeout = 60
    for file in {item.parent for item in items}:
        file.skip_compare = (*file.skip_compare, "text/markdown")


def pytest_terminal_summary(terminalreporter):
    """Add a line for each chapter to the end of an nbval run."""
    seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if ".ipynb::" in getattr(report, "nodeid", ""):
                seconds[report.nodeid.split("::")[0]] += report.duration
    for chapter, total in sorted(seconds.items()):
        note = f" (more than {LIMIT} s)" if total > LIMIT else ""
        terminalreporter.write_line(f"{chapter}: {total:.0f} s{note}")
