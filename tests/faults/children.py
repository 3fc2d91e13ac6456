"""What the children do: they are forked, and import nothing slow."""

import io
import os
import resource
import signal
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from itertools import count

import torch
from tqdm import tqdm

from minivae import VAE, History, Images, TrainConfig, checkpoint, fit
from minivae.__main__ import main
from minivae.data import seeded
from minivae.engine import processes

RUN = TrainConfig(epochs=8, batch_size=32, lr=1e-3, device="cpu")
HIDDEN = (8,) * 6  # many small weights, and so many moments to interrupt
# PyTorch loads its compiler with the first optimizer: once here, or each
# child would do so, for seconds, and nobody in particular may not read it
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
NOBODY = 65534  # the user that may write nowhere
AGES = 600  # seconds; whatever takes longer hangs
# the lock of the progress bar is a name in the system that a kill would leave
tqdm.set_lock(threading.RLock())


def numbered(i):
    """A state of which every tensor says which one it is."""
    return {"step": i, "weights": [torch.full((999,), i) for _ in range(20)]}


def save_on_and_on(tell, path, start, save):
    for i in count(start):
        save(path, numbered(i))
        tell.send(i)


def naive_save(path, state):
    """In place, as most programs do."""
    torch.save({"format": checkpoint.FORMAT} | state, path)


def noise(n=256):
    """Digits of a kind; those of scikit-learn take longer to load."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 28, 28), generator=draw).byte()
    return Images(images, torch.arange(n) % 10, "noise", "train")


def train(tell, path, fit=fit):
    """Train and say how far it came, or by what it was stopped."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    model, digits = VAE(2, HIDDEN), noise()
    tell.send("ready")
    try:
        with redirect_stdout(io.StringIO()):
            history = fit(model, digits, RUN, path, progress=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tell.send(len(history.loss))
    except KeyboardInterrupt:
        tell.send("interrupted")


def naive_fit(model, digits, config, path, progress):
    """Take Ctrl+C wherever it comes, and save what there is.

    A step is counted before it is taken, so that most of the moments of a
    run are wrong for an end: a control must not wait for a rare one.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    step, size = 0, config.batch_size
    if path.exists():
        state = checkpoint.load(path)
        model.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    try:
        while step < config.epochs * len(digits) // size:
            rows = (torch.arange(size) + size * step) % len(digits)
            step += 1
            terms = model(digits.x(rows), None, seeded("cpu", step))
            optimizer.zero_grad()
            terms["loss"].mean().backward()
            optimizer.step()
    except KeyboardInterrupt:
        pass
    state = {"weights": model.state_dict(), "step": step}
    checkpoint.save(path, state | {"optimizer": optimizer.state_dict()})
    return History(loss=[0.0] * config.epochs)


def train_slowly(tell, path):
    """A run with a step that takes for ever."""
    model = VAE(2, HIDDEN)
    model.register_forward_pre_hook(
        lambda *_: (tell.send("inside"), time.sleep(AGES))
    )
    try:
        with redirect_stdout(io.StringIO()):
            fit(model, noise(), RUN, path, progress=False)
    except KeyboardInterrupt:
        tell.send("at once")


def command(words, said):
    """The command line, but for the start of its interpreter."""
    torch.set_num_threads(1)
    with open(said, "w") as out, redirect_stdout(out), redirect_stderr(out):
        if status := main(words):
            sys.exit(status)


def worker(environment, words, said):
    """The command line as one of several processes."""
    os.environ.update(environment)
    command(words, said)


def meet(tell, environment):
    """Join the other processes, and tell how many there are."""
    os.environ.update(environment)
    with processes() as found:
        tell.send(found.total(torch.ones(())).item())


def save_one(save, path):
    save(path, numbered(2))


def fit_one(path):
    model, untrained = VAE(2, HIDDEN), VAE(2, HIDDEN).state_dict()
    try:
        fit(model, noise(), RUN, path, progress=False)
    finally:  # it is found out before the work
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, untrained[name]), name


def attempt(tell, write, path, room=None):
    """Write as nobody in particular, or with so many bytes of room."""
    if room is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    elif os.geteuid() == 0:
        os.setuid(NOBODY)
    try:
        write(path)
        tell.send(("nothing", ""))
    except Exception as error:
        tell.send((type(error).__name__, str(error)))
