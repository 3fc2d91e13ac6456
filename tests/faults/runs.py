"""Runs that are killed, interrupted, or have no room to write.

A process that imports torch takes seconds to start, so most of the children
are forked from one that has done so. Each function returns how many faults
it made, and one line for each that was not survived.
"""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from conftest import ROOT, digest, same
from torch.distributed import TCPStore

from faults import FORK, children
from faults.children import AGES, RUN, numbered
from minivae import CheckpointError, checkpoint, fit

STATUS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}

Tried = tuple[int, list[str]]


@contextmanager
def folder():
    """A folder that other users may look into, as pytest's may not be."""
    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@contextmanager
def child(target, *args):
    """A forked process that calls target(tell, *args), and what it tells."""
    heard, tell = FORK.Pipe(duplex=False)
    process = FORK.Process(target=target, args=(tell, *args))
    process.start()
    tell.close()
    try:
        yield process, heard
    finally:
        process.kill()
        process.join()


def last_word(heard, word=None):
    """The last thing that a child said before it ended."""
    try:
        while True:
            word = heard.recv()
    except (EOFError, OSError):
        return word


# --- killed while it saves ----------------------------------------------


def whole(state):
    """Whether all parts of it are of one and the same state."""
    return all((w == state["step"]).all() for w in state["weights"])


def kills_in_saves(n, save=checkpoint.save) -> Tried:
    """Kill a process that does nothing but save, n times in one run."""
    lost, draw, last = [], random.Random(n), 0
    with folder() as home:
        path = home / "a.pt"
        for _ in range(n):
            start = last + 1
            with child(children.save_on_and_on, path, start, save) as (
                process,
                heard,
            ):
                heard.recv()  # the first one is there
                time.sleep(draw.uniform(0, 0.01))
                process.kill()
                last = last_word(heard, start)
            try:
                state = checkpoint.load(path)
                # the one after the last may be there before it is told
                if state["step"] not in (last, last + 1) or not whole(state):
                    lost.append(f"step {state['step']} instead of {last}")
                last = max(last, state["step"])
            except CheckpointError as error:
                lost.append(str(error))
                path.unlink()
        save(path, numbered(last))
        left = [f.name for f in home.iterdir() if f != path]
        return n, lost + [f"{name} is left" for name in left]


# --- killed while it trains ---------------------------------------------


def finish(path, fit=fit):
    """The state at the end of a run that nothing stops."""
    with child(children.train, path, fit) as (process, heard):
        word = last_word(heard)
        process.join()
    if word != RUN.epochs:
        raise CheckpointError(f"{path}: the run ended with {word!r}")
    return checkpoint.load(path)


def undisturbed(home, fit=fit):
    """The end of the run, and how many seconds its steps take."""
    with child(children.train, home / "undisturbed.pt", fit) as (_, heard):
        heard.recv()
        start = time.perf_counter()
        last_word(heard)
        seconds = time.perf_counter() - start
    return checkpoint.load(home / "undisturbed.pt"), seconds


def kills(n) -> Tried:
    """Kill runs at any moment, again and again until each has ended."""
    lost, draw, done, reached = [], random.Random(n), 0, 0
    with folder() as home:
        end, seconds = undisturbed(home)
        path = home / "a.pt"
        while done < n:
            with child(children.train, path) as (process, heard):
                heard.recv()
                process.join(draw.uniform(0, seconds / 2))
                ended = process.exitcode == 0
            done += not ended
            try:
                if ended or done == n:
                    if not same(finish(path), end):
                        lost.append("the end differs")
                    path.unlink()
                    reached, seconds = 0, seconds * 0.9
                elif path.exists():
                    before, reached = reached, checkpoint.load(path)["step"]
                    if reached < before:
                        lost.append(f"back from step {before} to {reached}")
            except CheckpointError as error:
                lost.append(str(error))
                path.unlink(missing_ok=True)
                reached = 0
        left = [f.name for f in home.glob(".*.part")]
        return n, lost + [f"{name} is left" for name in left]


# --- interrupted ---------------------------------------------------------


def interrupts(n, fit=fit, enough=None) -> Tried:
    """Press Ctrl+C at any moment of a run, then finish it, n times.

    With `enough`, stop as soon as so many were torn. The moments move
    later after a run that had not begun, and earlier after one that had
    ended: a machine may be busier now than in the undisturbed run.
    """
    torn, steps, draw = [], [], random.Random(n)
    with folder() as home:
        end, seconds = undisturbed(home, fit)
        path = home / "a.pt"

        def boundaries():
            return all(
                step % (end["step"] // RUN.epochs) == 0 for step in steps
            )

        # more than n where chance has found no moment inside an epoch
        while len(torn) != enough and (
            len(steps) < n or (boundaries() and len(steps) < 4 * n)
        ):
            path.unlink(missing_ok=True)
            with child(children.train, path, fit) as (process, heard):
                heard.recv()
                time.sleep(draw.uniform(0, seconds))
                with suppress(ProcessLookupError):  # it may have ended
                    os.kill(process.pid, signal.SIGINT)
                word = last_word(heard)
                process.join(AGES)
            step = checkpoint.load(path)["step"] if path.exists() else 0
            if step == end["step"]:  # it had ended before
                seconds *= 0.9
                continue
            if not step:  # it had not begun
                seconds *= 1.1
            steps.append(step)
            if step and word == "interrupted":
                torn.append(f"step {step}: no history came back")
                continue
            try:
                if not same(finish(path, fit), end):
                    torn.append(f"step {step}: the end differs")
            except CheckpointError as error:
                torn.append(str(error))
        if boundaries():
            torn.append("none stopped inside an epoch")
        return len(steps), torn


def second_interrupt() -> Tried:
    """Press Ctrl+C twice in one step."""
    with folder() as home:
        path = home / "a.pt"
        with child(children.train_slowly, path) as (process, heard):
            heard.recv()
            os.kill(process.pid, signal.SIGINT)
            wrong = ["the first one was not held"] * heard.poll(0.3)
            os.kill(process.pid, signal.SIGINT)
            if not heard.poll(AGES / 4) or heard.recv() != "at once":
                wrong.append("the second one was not at once")
        if not same(finish(path), undisturbed(home)[0]):
            wrong.append("the end differs")
        return 2, wrong


# --- the command line ------------------------------------------------------


def words(path, epochs):
    """Of the command line, for a small network that saves often."""
    return (
        "train --model vae --data builtin --n-latent 2 --hidden 8 --device "
        f"cpu --batch-size 128 --lr 1e-3 --epochs {epochs} --checkpoint {path}"
    ).split()


def forked(target, *args):
    """Start a command in a fork; its pid, and how to wait for its end."""
    process = FORK.Process(target=target, args=args)
    process.start()

    def wait():
        process.join(AGES)
        return process.exitcode

    return process.pid, wait


def fresh(module, said):
    """As `forked`, in an interpreter of its own, as a user does."""
    with open(said, "w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    return process.pid, partial(process.wait, AGES)


def forked_command(words, said):
    return forked(children.command, words, said)


def command(words, said):
    return fresh(["minivae", *words], said)


def torchrun(words, said, restarts):
    options = f"--standalone --nproc-per-node 2 --max-restarts {restarts} -m"
    launcher = ["torch.distributed.run", *options.split()]
    return fresh([*launcher, "minivae", *words], said)


def end_of(path, epochs):
    """The state at the end of a command that nothing stops."""
    said = path.with_suffix(".txt")
    _, wait = forked_command(words(path, epochs), said)
    if wait() != 0:
        raise CheckpointError(f"{path}: {said.read_text()[-500:]}")
    return checkpoint.load(path)


def until_written(path, before=0):
    """Wait until the file is there, and was not written at that time."""
    patience = time.monotonic() + AGES
    while time.monotonic() < patience:
        if path.exists() and path.stat().st_mtime_ns != before:
            break
        time.sleep(0.01)


def commands(names, start=command) -> Tried:
    """Send these signals, one after the other, to one command line."""
    wrong, draw, before = [], random.Random(len(names)), 0
    # so many that a run is not done before its signal, on a busy machine too
    epochs = 20 + 80 * len(names)
    with folder() as home:
        path, said = home / "a.pt", home / "said.txt"
        for number in map(signal.Signals.__getitem__, names):
            pid, wait = start(words(path, epochs), said)
            until_written(path, before)
            time.sleep(draw.uniform(0, 0.1))
            os.kill(pid, number)
            status, lines = wait(), said.read_text().splitlines()
            if status != STATUS[number]:
                wrong.append(f"{number!r}: status {status}: {lines[-1:]}")
            elif status > 0 and not any(str(path) in line for line in lines):
                wrong.append(f"{number!r}: no line says how to go on")
            try:
                checkpoint.load(path)
            except CheckpointError as error:
                wrong.append(str(error))
            before = path.stat().st_mtime_ns
        if not same(end_of(path, epochs), end_of(home / "b.pt", epochs)):
            wrong.append("the end differs")
        wrong += [f"{f.name} is left" for f in home.glob(".*.part")]
    return len(names), wrong


def workers() -> Tried:
    """Kill one of two processes of torchrun, with and without a restart."""
    epochs, wrong, draw = 60, [], random.Random(0)
    with folder() as home:
        said, states = home / "said.txt", {}
        for name, restarts in (("undisturbed", 0), ("saved", 1), ("lost", 0)):
            path = home / f"{name}.pt"
            pid, wait = torchrun(words(path, epochs), said, restarts)
            if name != "undisturbed":
                until_written(path)
                time.sleep(draw.uniform(0, 0.3))
                alive = Path(f"/proc/{pid}/task/{pid}/children")
                one = draw.choice(alive.read_text().split())
                os.kill(int(one), signal.SIGKILL)
            status = wait()
            if bool(status) != (name == "lost"):
                end = said.read_text()[-300:]
                wrong.append(f"{name}: status {status}: {end}")
            states[name] = checkpoint.load(path)
        if not same(states["saved"], states["undisturbed"]):
            wrong.append("the end differs")
        if states["lost"]["epoch"] == epochs:
            wrong.append("the run without a restart came to its end")
    return 2, wrong


def pair(path, epochs):
    """Two forked processes as torchrun starts them, for the short version."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    meet = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    return [
        forked(
            children.worker,
            meet | {"RANK": rank, "LOCAL_RANK": rank},
            words(path, epochs),
            path.with_suffix(f".{rank}.txt"),
        )
        for rank in ("0", "1")
    ]


def one_of_a_pair() -> Tried:
    """Kill one of two processes and start both again."""
    epochs, wrong, draw = 20, [], random.Random(0)
    with folder() as home:
        path, other = home / "a.pt", home / "b.pt"
        killed = draw.randrange(2)
        both = pair(path, epochs)
        until_written(path)
        time.sleep(draw.uniform(0, 0.1))
        os.kill(both[killed][0], signal.SIGKILL)
        if [wait() for _, wait in both][1 - killed] in (0, None):
            wrong.append("the other one ended as if nothing had happened")
        if checkpoint.load(path)["epoch"] == epochs:
            wrong.append("it came to its end")
        for place in (path, other):
            statuses = [wait() for _, wait in pair(place, epochs)]
            if any(statuses):
                wrong.append(f"{place.name}: statuses {statuses}")
        if not same(checkpoint.load(path), checkpoint.load(other)):
            wrong.append("the end differs")
    return 1, wrong


def started_again(n=10) -> Tried:
    """Start two processes again and again with one store, as torchrun does.

    One that looks for the dead may wait where the other happens to call, so
    a fault may show only after several starts.
    """
    wrong = []
    server = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    for start in map(str, range(n)):
        names = {
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(server.port),
            "WORLD_SIZE": "2",
            "GROUP_WORLD_SIZE": "1",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": start,
        }
        with ExitStack() as stack:
            both = []
            for rank in ("1", "0"):  # the late one is the one looked for
                met = child(children.meet, names | {"RANK": rank})
                both.append(stack.enter_context(met)[1])
                time.sleep(0.5)
            for heard in both:
                if not heard.poll(AGES / 4) or last_word(heard) != 2:
                    wrong.append(f"start {start}: they do not meet")
        if wrong:
            return int(start) + 1, wrong
    return n, wrong


# --- no room, no right -----------------------------------------------------


def refusal(write, path, room=None):
    """What is wrong with how a write fails; empty if it is as it should."""
    before = digest(path) if path.exists() else None
    with child(children.attempt, write, path, room) as (_, heard):
        kind, text = last_word(heard, ("a crash", ""))
    if (digest(path) if path.exists() else None) != before:
        return f"{path}: the old file is lost"
    if list(path.parent.glob(".*.part")):
        return f"{path}: a part is left"
    if kind != "CheckpointError" or not text.startswith(str(path)):
        return f"{path}: {kind} {text}"
    if len(text) > 400 or len(re.findall(r"[\d.]+ MB", text)) != 2:
        return f"unclear: {text}"
    return ""


def full_disks(n, save=checkpoint.save) -> Tried:
    """Save, and start to train, where only some of the bytes find room."""
    wrong = []
    with folder() as home:
        old, new = home / "old.pt", home / "new.pt"
        checkpoint.save(old, numbered(1))
        content = old.read_bytes()
        for i in range(n):
            old.write_bytes(content)
            room = len(content) * i // n
            if i % 4:
                write, path = partial(children.save_one, save), old
            else:
                write, path, room = children.fit_one, new, room // 8
            wrong.append(refusal(write, path, room))
    return n, [text for text in wrong if text]


def read_only_folders(save=checkpoint.save) -> Tried:
    """Save, and start to train, as a user who may not write there."""
    write = partial(children.save_one, save)
    with folder() as home:
        old, new = home / "old.pt", home / "new.pt"
        checkpoint.save(old, numbered(1))
        home.chmod(0o555)
        cases = [(write, old), (write, new), (write, home / "a" / "b.pt")]
        cases += [(children.fit_one, new)]
        wrong = [refusal(*case) for case in cases]
        home.chmod(0o755)
        return len(cases), [text for text in wrong if text]
