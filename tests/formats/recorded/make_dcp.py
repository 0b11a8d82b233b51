"""Write the recorded DCP checkpoint: a model that FSDP shards, and a tensor that is cut by columns.

Run in this directory in two processes: ``RANK=R WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python
make_dcp.py`` with R of 0 and 1.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings = torch.nn.Embedding(7, 6)
        self.query = torch.nn.Linear(6, 5)
        self.LayerNorm = torch.nn.LayerNorm(5)
        self.classifier = torch.nn.Linear(5, 3)


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = Model()
    columns = torch.arange(24.0).reshape(4, 6)
    whole = {name: tensor.clone() for name, tensor in model.state_dict().items()} | {"columns": columns}
    mesh = init_device_mesh("cpu", (2,))
    fully_shard(model, mesh=mesh)
    state = get_model_state_dict(model) | {"columns": distribute_tensor(columns, mesh, [Shard(1)])}
    dcp.save({"model": state, "optim": {"state": torch.zeros(3)}}, checkpoint_id=folder)
    if dist.get_rank() == 0:
        save_file(whole, f"{folder}-expected.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path("dcp"))  # relative, as the metadata keeps the path
