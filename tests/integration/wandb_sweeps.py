"""The calls of ``wandb sweep`` and ``wandb agent``, beside those of runs."""

import itertools
import json
from typing import Any

import yaml
from wandb_server import ENTITY, WandbServer


class SweepServer(WandbServer):
    """A W&B server that hands out the jobs of a sweep: the grid of its values, of a range its ends.

    Attributes:
        sweeps: Configs of the sweeps by name.
        jobs: What is left to be run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.jobs: list[dict[str, Any]] = []

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer a request, of a sweep or of a run."""
        for name, answer in {
            "UpsertSweep": self._upsert,
            "SweepWithRuns": self._sweep,
            "CreateAgent": lambda _: {"createAgent": {"agent": {"id": "agent"}}},
            "Heartbeat": self._heartbeat,
        }.items():
            if f"{name}(" in query:
                self.operations.append((name, variables))
                return {"data": answer(variables)}
        return super().graphql(query, variables)

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        name, config = f"sweep{len(self.sweeps)}", yaml.safe_load(given["config"])
        self.sweeps[name] = config
        values = {
            key: asked.get("values") or ([asked["value"]] if "value" in asked else [asked["min"], asked["max"]])
            for key, asked in config["parameters"].items()
        }
        for place, chosen in enumerate(itertools.product(*values.values())):
            arguments = {key: {"value": value} for key, value in zip(values, chosen, strict=True)}
            run = {"type": "run", "run_id": f"{name}run{place}", "program": config["program"], "args": arguments}
            self.jobs.append(run)
        project = {"id": "project", "name": given["projectName"], "entity": {"id": "entity", "name": ENTITY}}
        return {"upsertSweep": {"sweep": {"name": name, "project": project}, "configValidationWarnings": []}}

    def _sweep(self, given: dict[str, Any]) -> dict[str, Any]:
        config = yaml.safe_dump(self.sweeps[given["sweep"]])
        return {"project": {"sweep": {"id": given["sweep"], "config": config, "runs": {"edges": []}}}}

    def _heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:
        commands = [] if json.loads(given["runState"]) else [self.jobs.pop(0)] if self.jobs else [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}
