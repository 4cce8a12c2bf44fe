"""The engine on Ray without Ray: actors are objects of this process, and calls are answered at once."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from distill.engines import ray_cluster
from distill.engines.base import EngineOptions, run
from distill.engines.gone import Gone
from distill.jobs.eval_work import EvalLead
from tests.distill.engines.tiny_work import TinyLead, TinyWork, written


class FakeCluster:
    """What `ray_cluster` uses of Ray; `gpus` GPUs."""

    def __init__(self, gpus: int) -> None:
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self._gpus = gpus

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0, "GPU": float(self._gpus)}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "node", "Alive": True}]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "node")

    def remote(self, kind: type) -> Any:
        def actor(*given: Any, **more: Any) -> Any:
            made = kind(*given, **more)
            calls = {name: lambda *a, name=name: (object(), getattr(made, name)(*a)) for name in ("open", "do")}
            return SimpleNamespace(**{name: SimpleNamespace(remote=call) for name, call in calls.items()})

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=actor))

    def wait(self, calls: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return calls[:num_returns], calls[num_returns:]

    def get(self, call: Any) -> Any:
        return call[1]

    def kill(self, actor: Any) -> None: ...


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Three GPUs, one node."""
    fake = FakeCluster(3)

    @contextmanager
    def connected(address: str | None):
        yield fake

    monkeypatch.setattr(ray_cluster, "_connected", connected)
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def test_the_lead_is_told_of_the_actors_there_are(cluster, tmp_path):
    lead = TinyLead(tmp_path, range(12))
    run(TinyWork(tmp_path), lead, options=EngineOptions(engine="ray"))
    assert written(tmp_path) == {task: str(task**2) for task in range(12)}
    assert lead.staff == [1, 2, 3]


def test_work_that_somebody_else_has_finished_ends_quietly(cluster, tmp_path, capfd):
    with pytest.raises(Gone, match="^somebody else was faster$"):
        run(TinyWork(tmp_path, gone=3), TinyLead(tmp_path, range(8)), options=EngineOptions(engine="ray"))
    assert "Traceback" not in capfd.readouterr().err


def test_leads_that_do_not_care_may_be_told_too():
    EvalLead(lambda done, total: None).staffed(3)
