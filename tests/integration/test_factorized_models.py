"""Whole models of torchvision made low-rank, and what people do with them: compile, export, train in two processes."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.models import VisionTransformer, resnet18, vit_b_16
from torchvision.models.resnet import BasicBlock, ResNet

import eckart
from eckart.compression.factorized import Factorized

pytestmark = pytest.mark.compression


def small_vit() -> nn.Module:
    torch.manual_seed(0)
    model = VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10)
    nn.init.normal_(model.heads.head.weight, std=0.1)
    return model.eval()


def small_resnet() -> nn.Module:
    torch.manual_seed(0)
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    # Its large layers take most of the time.
    model.layer3, model.layer4 = nn.Identity(), nn.Identity()
    model.fc = nn.Linear(128, 10)
    return model.eval()


class Language(nn.Module):
    """A small transformer whose head has the weight of its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(16, 50)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(tokens)))  # type: ignore[no-any-return]


def language() -> nn.Module:
    torch.manual_seed(0)
    return Language().eval()


def inputs_of(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if kind == "language":
        return torch.randint(0, 50, (8, 12), generator=generator)
    return torch.randn(8, 3, 32, 32, generator=generator).cumsum(-1) / 4


MODELS = {"vit": small_vit, "resnet": small_resnet, "language": language}


def factorized(kind: str) -> tuple[nn.Module, Factorized, Tensor]:
    model, x = MODELS[kind](), inputs_of(kind)
    settings: dict[str, Any] = {"embeddings": True, "keep_slower": True, "sensitivity": "relative"}
    return model, eckart.factorize(model, 0.5, [x[:5], x[5:]], **settings), x


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_keeps_its_paths_and_its_budget(kind: str, tmp_path: Path) -> None:
    model, found, x = factorized(kind)
    assert 0.4 < found.parameters / found.dense_parameters <= 0.5
    paths = dict(found.model.named_modules(remove_duplicate=False))
    assert all(path in paths for path, _ in model.named_modules(remove_duplicate=False))
    outputs = found.model(x).detach()
    assert 0 < float((outputs - model(x)).norm() / model(x).norm()) < 1
    assert all(abs(layer.excess) < 1e-7 for layer in found.layers if layer.excess is not None)
    for other in (found.defactorize(), copy.deepcopy(found.model)):
        np.testing.assert_allclose(other(x).detach(), outputs, atol=1e-4)
    dense = MODELS[kind]()
    dense.load_state_dict(found.to_dense())
    np.testing.assert_allclose(dense(x).detach(), outputs, atol=1e-4)
    found.save(tmp_path / "model.safetensors")
    loaded = Factorized.load(tmp_path / "model.safetensors", MODELS[kind]())
    assert torch.equal(loaded.model.eval()(x), found.model(x))


@pytest.mark.parametrize("kind", MODELS)
def test_compile_and_export(kind: str) -> None:
    _, found, x = factorized(kind)
    with torch.no_grad():
        outputs = found.model(x)
        exported = torch.export.export(found.model, (x,)).module()(x)
        np.testing.assert_allclose(exported, outputs, atol=1e-4)
        # Whole graphs, without a break; how the graph is then compiled is not of these layers.
        compiled = torch.compile(found.model, backend="aot_eager", fullgraph=True)(x)
        np.testing.assert_allclose(compiled, outputs, atol=1e-4)


def test_inductor_compiles_a_step_of_training() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 30 * 30, 10))
    found, x = eckart.factorize(model, rank=2), inputs_of("resnet")
    assert all(layer.rank == 2 for layer in found.layers)
    compiled = torch.compile(found.model)
    compiled(x).square().mean().backward()
    gradients = [p.grad.clone() for p in found.model.parameters() if p.grad is not None]
    found.model.zero_grad()
    found.model(x).square().mean().backward()
    plain = [p.grad for p in found.model.parameters() if p.grad is not None]
    assert len(gradients) == len(plain) > 0
    for gradient, expected in zip(gradients, plain, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-2, atol=1e-4)


def _train(rank: int, processes: int, folder: str) -> None:
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    _, found, x = factorized("language")
    model = DistributedDataParallel(found.model.train())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x[rank::processes]).square().mean().backward()
        optimizer.step()
    if rank == 0:
        found.save(f"{folder}/together.safetensors")
    dist.destroy_process_group()


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    mp.spawn(_train, (2, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call, unused-ignore]
    _, found, x = factorized("language")
    optimizer = torch.optim.SGD(found.model.train().parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        found.model(x).square().mean().backward()
        optimizer.step()
    together: Any = Factorized.load(tmp_path / "together.safetensors", language()).model
    assert together.head.left is together.embed.left
    for one, other in zip(together.parameters(), found.model.parameters(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [resnet18, vit_b_16])
def test_models_of_torchvision(build: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(weights=None).eval()
    if build is vit_b_16:
        nn.init.normal_(model.heads.head.weight, std=0.02)
    x = torch.randn(4, 3, 224, 224).cumsum(-1) / 10
    found = eckart.factorize(model, 0.5, [x[:2], x[2:]], sensitivity="relative", keep_slower=True)
    print(found)
    assert found.parameters <= 0.5 * found.dense_parameters
    assert found.multiply_adds is not None
    assert found.dense_multiply_adds is not None
    assert found.multiply_adds < found.dense_multiply_adds
    assert all(abs(layer.excess) < 1e-6 for layer in found.layers if layer.excess is not None)
    with torch.no_grad():
        outputs = found.model(x[:1])
        found.save(tmp_path / "model.safetensors")
        loaded = Factorized.load(tmp_path / "model.safetensors", build(weights=None))
        assert torch.equal(loaded.model.eval()(x[:1]), outputs)
        dense = build(weights=None).eval()
        dense.load_state_dict(found.to_dense())
        np.testing.assert_allclose(dense(x[:1]), outputs, atol=1e-3 * float(outputs.abs().max()))
