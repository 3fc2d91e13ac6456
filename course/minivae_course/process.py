"""The process in which student code runs, and its handle.

A check asks; the student's process answers with plain values. Whatever the
code does there (loops for ever, ends the process, replaces torch) cannot
reach the check: it sees no answer, or a wrong one.
"""

import base64
import contextlib
import dis
import functools
import importlib
import io
import itertools
import multiprocessing
import operator
import os
import random
import shutil
import signal
import site
import sys
import sysconfig
import tempfile
import threading
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor

import minivae
from minivae_course import wire

MORE_MEMORY = 4 * 2**30  # bytes above what torch has mapped
LARGEST_FILE = 2**26  # bytes that student code may write to one file
PRINTED = 2000  # characters kept of what it prints
START = 180.0  # seconds for torch to load on a slow machine
HERE = Path(__file__).resolve().parent
PACKAGE = Path(minivae.__file__).resolve().parent
# before student code runs; torch loads its compiler with the first optimizer
LOADED = [
    "minivae_course.process",
    "sklearn.linear_model",
    "sklearn.datasets",
    "torch._dynamo",
]
inside = False  # whether this is a process in which student code runs


class GoneError(RuntimeError):
    """The process ended, or was ended at its time limit.

    Example:
        >>> issubclass(GoneError, RuntimeError)
        True
    """


class Server:
    """Holds the student's objects and does what a check asks.

    Example:
        >>> server = Server()
        >>> server.names["double"] = lambda x: 2 * x
        >>> server.answer({"op": "look", "name": "double"})["callable"]
        True
        >>> server.answer({"op": "look", "name": "triple"})
        {'missing': True, 'printed': ''}
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.shell: Any = None

    def answer(self, request: dict) -> dict:
        """Whatever happens in there, an answer: a dict."""
        seed = request.get("seed", 0)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        printed = _Short()
        try:
            with (
                contextlib.redirect_stdout(printed),
                contextlib.redirect_stderr(printed),
            ):
                done = getattr(self, "do_" + request["op"])(request)
        # a student's sys.exit() is an answer too
        except BaseException as error:
            done = {"error": _told(error)}
        return done | {"printed": printed.getvalue()}

    def do_objects(self, request: dict) -> dict:
        """Take functions and values that a notebook has pickled."""
        content = base64.b64decode(request["pickle"])
        self.names |= cloudpickle.loads(content)
        return {}

    def do_cell(self, request: dict) -> dict:
        """Run a cell of a notebook."""
        if self.shell is None:
            from IPython.core.interactiveshell import InteractiveShell

            module = types.ModuleType("__main__")
            sys.modules["__main__"] = module
            self.shell = InteractiveShell(user_module=module)
            self.shell.history_manager.enabled = False
            self.names = self.shell.user_ns
        result = self.shell.run_cell(request["source"])
        error = result.error_before_exec or result.error_in_exec
        return {"error": _told(error)} if error else {}

    def do_look(self, request: dict) -> dict:
        """What a name stands for."""
        if request["name"] not in self.names:
            return {"missing": True}
        value = self.names[request["name"]]
        return {"callable": callable(value), "value": value}

    def do_call(self, request: dict) -> dict:
        """Call a function; its value, and gradients where wanted."""
        args, kwargs = request["args"], request["kwargs"]
        function = self.names[request["name"]]
        watch = _Watch(request.get("references", ()), args)
        through = request.get("through")
        with watch:
            if through is None:
                value = function(*args, **kwargs)
            else:  # a function of ours, for what does not travel
                value = through(function, *args)
        done = {"value": value, "after": wire.digest([args, kwargs])}
        done["used"] = sorted(watch.used)
        if request["keep"]:
            done["args"] = args
        if request["gradients"]:
            entry = request.get("entry")
            wanted = value if entry is None else value[entry]
            done["gradients"] = _gradients(wanted, args, request["weights"])
        return done


class _Watch:
    """Notes whether student code uses what it was to write, or the checks.

    Args:
        references: what it was to write, as "module:function".
        args: functions among them may be called, and methods of objects.
    """

    def __init__(self, references: Iterable[str], args: list) -> None:
        self.used: set[str] = set()
        self.codes = {}
        for one in references:
            module, name = one.split(":")
            find = operator.attrgetter(f"{name}.__code__")
            code = find(importlib.import_module(module))
            self.codes[code] = f"{module}.{name}"
        # what takes down what is printed may be called, by warnings too
        self.allowed = {c for one in (*args, _Short) for c in _codes_of(one)}
        self.seen: set[types.CodeType] = set()

    def __enter__(self) -> None:
        self.before = sys.getprofile()
        sys.setprofile(self._watch)

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self.before)

    def _watch(self, frame: types.FrameType, event: str, arg: object) -> None:
        code = frame.f_code
        if event != "call" or (code in self.seen and code not in self.codes):
            return
        self.seen.add(code)
        file = code.co_filename
        if code in self.codes:
            if _asked_by_student(frame):
                self.used.add(self.codes[code])
        elif _is_checks(file) and code not in self.allowed:
            if _asked_by_student(frame):
                self.used.add("minivae_course")
        elif _is_students(file) and any(
            one.opname == "IMPORT_NAME"
            and str(one.argval).partition(".")[0] == "minivae_course"
            for one in dis.get_instructions(code)
        ):
            self.used.add("minivae_course")


def _codes_of(value: object) -> Iterator[types.CodeType]:
    """What runs when a function is called, an object or one of a class."""
    whole = [value]
    if isinstance(value, torch.nn.Module):
        whole = list(value.modules())
    elif isinstance(value, list | tuple):
        yield from (code for one in value for code in _codes_of(one))
    elif isinstance(value, dict):
        yield from (code for one in value.values() for code in _codes_of(one))
    for one in whole:
        above = (one if isinstance(one, type) else type(one)).__mro__
        kinds = [vars(kind).values() for kind in above]
        for part in (one, *itertools.chain.from_iterable(kinds)):
            part = getattr(part, "fget", part)  # of a property
            if code := getattr(part, "__code__", None):
                yield code


def _asked_by_student(frame: types.FrameType) -> bool:
    """Whether student code called this, perhaps through torch or Python."""
    caller = frame.f_back
    while caller is not None:
        file = caller.f_code.co_filename
        if _is_students(file):
            return True
        if Path(file).resolve().is_relative_to(PACKAGE) or _is_checks(file):
            return False
        caller = caller.f_back
    return False


@functools.cache
def _is_checks(file: str) -> bool:
    return Path(file).resolve().is_relative_to(HERE)


def _gradients(
    value: object, args: list, weights: Tensor | None
) -> list[Tensor | None] | None:
    """Of the (weighted) sum of the value, by each tensor that wants one."""
    leaves: list[Tensor] = []
    for arg in args:
        if isinstance(arg, torch.nn.Module):
            leaves += arg.parameters()
        elif isinstance(arg, Tensor) and arg.requires_grad:
            leaves.append(arg)
    if isinstance(value, list | tuple) and value:
        # one for each digit, say
        plain = all(isinstance(one, Tensor) for one in value)
        value = torch.stack(list(value)) if plain else value
    if not isinstance(value, Tensor) or not value.requires_grad:
        return None
    total = value.sum() if weights is None else (value * weights).sum()
    return list(torch.autograd.grad(total, leaves, allow_unused=True))


def _told(error: BaseException) -> dict:
    """An exception in plain words: kind, message, line of the student."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if _is_students(trace.tb_frame.f_code.co_filename):
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = str(error)[:300]
    except Exception:
        text = ""
    return {"kind": type(error).__name__, "text": text, "line": line}


@functools.cache
def _not_students() -> tuple[Path, ...]:
    """The folders of our packages, of Python and of what is installed."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    known = [sysconfig.get_path(name) for name in names]
    known += [*site.getsitepackages(), site.getusersitepackages()]
    # a distribution may install elsewhere than its own sysconfig says
    modules = (minivae.__file__, __file__, os.__file__, torch.__file__)
    found = {Path(one).resolve() for one in known if one}
    found |= {Path(one).resolve().parent for one in modules}
    # on Windows Python's whole folder is listed, which may hold all else
    return tuple(found - {Path(sys.prefix).resolve()})


@functools.cache
def _is_students(file: str) -> bool:
    """Whether code of this file is the student's.

    Folders are compared, not words of their names, since a checkout or a
    home may be called anything.
    """
    if file.startswith("<"):  # a cell or a prompt; frozen are Python's own
        return not file.startswith(("<frozen", "<__array"))
    here = Path(file).resolve()
    return not any(here.is_relative_to(one) for one in _not_students())


class _Short(io.TextIOBase):
    """Keeps the first characters and forgets the others."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        if len(self.text) < PRINTED:
            self.text += text[: PRINTED - len(self.text)]
        return len(text)

    def getvalue(self) -> str:
        return self.text


class Here:
    """A student's objects in this very process: fast, and no protection.

    For trying many answers that are known to be harmless.

    Args:
        objects: name -> function or value.
        seconds: without a meaning here.

    Example:
        >>> Here({"x": 3}).ask({"op": "look", "name": "x"})["value"]
        3
    """

    def __init__(self, objects: dict[str, object], seconds: float = 0) -> None:
        self.server = Server()
        self.server.names = objects

    def ask(self, request: dict) -> dict:
        """The answer to a request."""
        # the same bytes as between processes, so the same answers
        request = wire.unpack(wire.pack(request), trusted=True)
        return wire.unpack(wire.pack(self.server.answer(request)))

    def close(self) -> None:
        """Nothing to end."""


class Apart:
    """The same in a process of its own, with a limit in seconds.

    Args:
        objects: name -> function or value, which travel by cloudpickle; None
            for cells that come later.
        seconds: after the start; then the process is killed.
        keep_out: folders that the code may not open.

    Raises:
        GoneError: the objects cannot be copied, or it did not start.

    Example:
        >>> Apart({"rows": (n for n in range(3))})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        minivae_course.process.GoneError: it uses something of the notebook ...
    """

    def __init__(
        self,
        objects: dict[str, object] | None = None,
        seconds: float = 30.0,
        keep_out: tuple[str, ...] = (),
    ) -> None:
        # before the process starts: this is what may fail
        content = b"" if objects is None else _pickled(objects)
        self.late, self.timer = False, None
        self.folder = tempfile.mkdtemp(prefix="minivae-check-")
        self.connection, theirs = _context().Pipe()
        self.process = _context().Process(
            target=serve, args=(theirs, self.folder, keep_out), daemon=True
        )
        with _no_main():
            self.process.start()
        theirs.close()
        try:
            # loading torch is not the student's time
            if not self.connection.poll(START):
                raise GoneError("the process did not start")
            self._receive()
            self.allow(seconds)
            if objects is not None:
                text = base64.b64encode(content).decode()
                done = self.ask({"op": "objects", "pickle": text})
                if done.get("error"):
                    raise GoneError(str(done["error"]["text"]))
        except BaseException:
            self.close()
            raise

    def allow(self, seconds: float) -> None:
        """Let it live for so many seconds from now."""
        if self.timer:
            self.timer.cancel()
        self.seconds = seconds
        self.timer = threading.Timer(seconds, self._end)
        self.timer.daemon = True
        self.timer.start()

    def ask(self, request: dict) -> dict:
        """The answer to a request.

        Raises:
            GoneError: the process has ended or did not answer in time.
        """
        try:
            self.connection.send_bytes(wire.pack(request))
            answer = wire.unpack(self._receive())
        except wire.WireError:
            raise GoneError("the answer could not be read") from None
        except (EOFError, OSError):
            self.process.join(1)
            raise GoneError(
                f"it was still running after {self.seconds:g} seconds"
                if self.late
                else "it ended the Python process that it ran in"
            ) from None
        if not isinstance(answer, dict):
            raise GoneError("the answer could not be read")
        return answer

    def close(self) -> None:
        """End the process and what it started."""
        if self.timer:
            self.timer.cancel()
        self._kill()
        self.process.join(5)
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _receive(self) -> bytes:
        return self.connection.recv_bytes(wire.MOST_BYTES)

    def _end(self) -> None:
        self.late = True
        self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError, AttributeError, ValueError):
            self.process.kill()


def _pickled(objects: dict[str, object]) -> bytes:
    try:
        return cloudpickle.dumps(objects)
    except Exception as error:
        raise GoneError(
            "it uses something of the notebook that cannot be copied "
            f"({error}); make it an argument, or build it inside"
        ) from None


def _context() -> Any:
    """Processes that begin clean and, where that can be, at once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # and with what answers may use, so that loading takes none of their time
    context.set_forkserver_preload(LOADED)
    return context


@contextlib.contextmanager
def _no_main():
    """Hide the running script, which the new process would run again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def warm() -> None:
    """Start what later processes begin from, so that the first is quick."""
    context = _context()
    if context.get_start_method() == "forkserver":
        from multiprocessing import forkserver

        with _no_main():
            forkserver.ensure_running()


def serve(connection, folder: str, keep_out: tuple[str, ...]) -> None:
    """The life of a student's process.

    Args:
        connection: to the process that asks.
        folder: to work in.
        keep_out: folders that the code may not open.
    """
    global inside
    inside = True
    with contextlib.suppress(AttributeError, OSError):
        os.setsid()  # so that what it starts ends with it
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    _limit()
    torch.set_num_threads(1)
    if keep_out:
        closed = [os.path.realpath(one) for one in keep_out]
        _fence(closed, os.path.realpath(folder))
    server = Server()
    connection.send_bytes(b"ready")
    while True:
        try:
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        answer = server.answer(wire.unpack(request, trusted=True))
        try:
            message = wire.pack(answer)
        except Exception as error:
            # a value that has no numbers, such as a sparse tensor
            message = wire.pack({"error": _told(error)})
        connection.send_bytes(message)


def _limit() -> None:
    """A seat belt for memory and disk, where the system has one."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


REFUSED = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.killpg",
    "pty.spawn",
    "socket.bind",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.sendmsg",
    "socket.sendto",
    "subprocess.Popen",
}
FILES = {
    "open",
    "os.chmod",
    "os.link",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.scandir",
    "os.symlink",
    "os.truncate",
    "shutil.copyfile",
    "sqlite3.connect",
}
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _fence(folders: list[str], mine: str) -> None:
    """Refuse other programs and some folders. No sandbox: see the guide."""
    this = os.getpid()

    def within(path: str, folder: str) -> bool:
        return os.path.commonpath([path, folder]) == folder

    def reads(event: str, args: tuple) -> bool:
        if event == "open":
            return not args[2] & CHANGES
        return event in ("os.listdir", "os.scandir")

    def watch(event: str, args: tuple) -> None:
        if event in REFUSED:
            if event in ("os.kill", "os.killpg") and args[0] in (this, 0):
                return
            raise PermissionError(f"{event} is not allowed while grading")
        if event not in FILES:
            return
        for one in args[:2]:  # some take two paths
            if not isinstance(one, str | bytes):
                continue
            path = os.path.realpath(os.fsdecode(one))
            # an open folder leads to files by other names
            odd = event == "open" and Path(path).is_dir()
            shut = any(within(path, folder) for folder in folders)
            # a checkout has this package in a closed folder; an installed
            # one lies elsewhere, and both have to give the same marks
            if within(path, str(HERE)) and reads(event, args):
                shut = False
            if shut or (odd and not within(path, mine)):
                raise PermissionError(f"{path} is not open to submissions")

    sys.addaudithook(watch)
