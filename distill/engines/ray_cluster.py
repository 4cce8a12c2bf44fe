"""Workers as actors of a Ray cluster, whose nodes may come and go.

Ray places the actors, one on each GPU where there are any, and says when one has died. Nothing of the work's state is in Ray:
tasks publish to a folder that all nodes see, and this process hands out again what a lost actor had.
"""

import os
import pickle
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distill.engines.base import EngineOptions, Lead, Work
from distill.engines.ending import ended_by_sigterm
from distill.engines.gone import Gone
from distill.engines.schedule import AHEAD, Schedule
from distill.engines.session import Session
from distill.engines.worker import DONE, FAILED, GONE, OPEN, REFUSED
from distill.launching.world import World
from encoders.errors import InputError, MissingExtra

LOOK_SECONDS = 2.0  # between two looks at the size of the cluster
CONNECT_SECONDS = 10.0
OWN_CLUSTER = "local"  # Ray's word for a cluster that starts and ends with this process


class RayWorker:
    """What runs in an actor. It answers like the process of a local worker, and never by an exception.

    Args:
        content: the pickled work.
        folder, paths: working directory and import path of the lead.
        number: of this actor, which no other one of the call has.
    """

    def __init__(self, content: bytes, *, folder: str, paths: list[str], number: int) -> None:
        self._content, self._folder, self._paths, self._number = content, folder, paths, number
        self._session: Session | None = None

    def open(self) -> tuple[Any, ...]:
        """Open the worker; answers with its facts and the number of its node."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        try:
            sys.path += [path for path in self._paths if path not in sys.path]
            if not os.path.isdir(self._folder):
                raise InputError(f"node {node} has no folder {self._folder}; start where all nodes see the same folders")
            os.chdir(self._folder)
            self._session = Session(pickle.loads(self._content), World(self._number, self._number + 1))  # from the lead
            return OPEN, self._session.facts(), node
        except Exception as error:
            return answer(error)

    def do(self, task: int) -> tuple[Any, ...]:
        """Do a task; answers with what the lead is told of it."""
        assert self._session is not None, "open comes first"
        try:
            return DONE, task, self._session.do(task)
        except Exception as error:
            return answer(error)


def answer(error: Exception) -> tuple[str, str]:
    """Return what the lead is told of a failure."""
    if isinstance(error, (InputError, MissingExtra)):
        return REFUSED, str(error)
    if isinstance(error, Gone):
        return GONE, str(error)
    traceback.print_exception(error)
    return FAILED, "".join(traceback.format_exception_only(error)).strip()


def run_ray(work: Work, lead: Lead, *, options: EngineOptions) -> None:
    """Do all tasks on a Ray cluster.

    Raises:
        InputError: the cluster cannot be reached; or see `distill.engines.local.run_local`.
        MissingExtra: Ray is not installed.
    """
    with ended_by_sigterm(), _connected(options.ray_address) as ray, _Actors(ray, work, options=options) as actors:
        actors.start(0)
        facts = _first_facts(actors, most_failures=options.max_shard_retry)
        schedule = Schedule(lead.begin(facts), max_retry=options.max_shard_retry, name=lead.name)
        staff = 0
        while schedule.unfinished:
            if staff != len(actors.open):
                staff = len(actors.open)
                lead.staffed(staff)
            for slot in actors.lacking(schedule.unfinished):
                actors.start(slot)
            for slot in actors.open:
                while (task := schedule.take(slot, workers=len(actors.open))) is not None:
                    actors.hand_out(slot, task)
            for slot, message in actors.messages():
                if message[0] == DONE and schedule.done(slot, message[1]):
                    lead.done(message[1], message[2])
                elif message[0] == FAILED:
                    if actors.end(slot):
                        print(f"the node of actor {slot} has gone; another actor does what it left", file=sys.stderr)
                        schedule.given_back(slot)
                    else:
                        print(f"actor {slot} failed ({message[1]}); another one does what it left", file=sys.stderr)
                        schedule.lost(slot, words=f"failed; its last words: {message[1]}")


def _first_facts(actors: "_Actors", *, most_failures: int) -> Any:
    """Wait until the first actor is open; return its facts.

    Raises:
        InputError: it failed more than `most_failures` times.
    """
    failures = 0
    while True:
        for slot, message in actors.messages():
            if message[0] == OPEN:
                return message[1]
            failures += not actors.end(slot)
            if failures > most_failures:
                raise InputError(f"an actor that was not ready yet failed; its last words: {message[1]}")
            actors.start(slot)


class _Actors:
    """The actors by slot, and the calls that they have not answered.

    Attributes:
        open: slots whose actor is ready for tasks.
    """

    def __init__(self, ray: Any, work: Work, *, options: EngineOptions) -> None:
        self.ray, self.work, self.options = ray, work, options
        self.open: list[int] = []
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}
        self._nodes: dict[int, str] = {}
        self._started = 0
        resources = ray.cluster_resources()
        self._unit = "GPU" if resources.get("GPU", 0) >= 1 else "CPU"
        needs = {"num_cpus": 1, "num_gpus": 1 if self._unit == "GPU" else 0}
        self._class = ray.remote(RayWorker).options(max_restarts=0, max_concurrency=AHEAD + 2, **needs)

    def start(self, slot: int) -> None:
        """Start the actor of a slot, which waits until the cluster has room for it."""
        actor = self._class.remote(
            pickle.dumps(self.work), folder=os.getcwd(), paths=list(sys.path), number=self._started
        )
        self._started += 1
        self._actors[slot] = actor
        self._calls[actor.open.remote()] = slot

    def lacking(self, unfinished: int) -> list[int]:
        """Return the slots to start for so many unfinished tasks, as the cluster is now."""
        wanted = self.options.processes or max(1, int(self.ray.cluster_resources().get(self._unit, 1)))
        return [slot for slot in range(min(wanted, unfinished)) if slot not in self._actors]

    def hand_out(self, slot: int, task: int) -> None:
        """Give an actor a task."""
        self._calls[self._actors[slot].do.remote(task)] = slot

    def messages(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Wait a little, then yield the answers that have come; FAILED for a dead actor.

        Raises:
            InputError: an actor refused its input.
            Gone: an actor found the work finished.
        """
        ready, _ = self.ray.wait(list(self._calls), num_returns=1, timeout=LOOK_SECONDS)
        for call in ready:
            slot = self._calls.pop(call)
            try:
                message = self.ray.get(call)
            except self.ray.exceptions.RayError as error:
                message = FAILED, str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            if message[0] == REFUSED:
                raise InputError(message[1])
            if message[0] == GONE:
                raise Gone(message[1])
            if message[0] == OPEN:
                self.open.append(slot)
                self._nodes[slot] = message[2]
            yield slot, message

    def end(self, slot: int) -> bool:
        """Forget a failed actor; return whether its node has gone, for which no task is to blame."""
        actor = self._actors.pop(slot)
        with suppress(Exception):
            self.ray.kill(actor)
        self._calls = {call: other for call, other in self._calls.items() if other != slot}
        if slot in self.open:
            self.open.remove(slot)
        alive = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}
        return self._nodes.pop(slot, None) not in {None, *alive}

    def __enter__(self) -> "_Actors":
        return self

    def __exit__(self, *error: object) -> None:
        for slot in list(self._actors):
            self.end(slot)


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or start one of this machine that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", extra="ray") from error
    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS") or OWN_CLUSTER
    more = {"include_dashboard": False} if where == OWN_CLUSTER else {}
    try:
        _check_reachable(where)
        ray.init(address=where, log_to_driver=True, **more)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster can be reached at {where} ({error}); start one with: ray start --head, or leave the address out"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Connect to HOST:PORT once, because Ray would try for minutes. Raises OSError."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
