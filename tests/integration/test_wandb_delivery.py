"""What reaches a W&B server, from online runs and from offline ones delivered later."""

import pytest
from commandline import Train
from wandb_server import WandbServer

pytestmark = pytest.mark.wandb


def test_an_online_run_delivers(train: Train, wandb_server: WandbServer) -> None:
    ended = train("method=factorization", "rank=2", "data=lab", "method.max_steps=50")
    assert ended.code == 0, ended.stderr
    assert wandb_server.run.exit_code == 0
    assert wandb_server.unknown == []
