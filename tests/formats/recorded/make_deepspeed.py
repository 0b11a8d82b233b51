"""Write the recorded ZeRO checkpoints with DeepSpeed itself, and what its own zero_to_fp32 makes of them.

Run once for each STAGE of 1, 2 and 3, in two processes: ``RANK=R LOCAL_RANK=R WORLD_SIZE=2
MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python make_deepspeed.py STAGE`` with R of 0 and 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

os.environ["DS_ACCELERATOR"] = "cpu"


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings = torch.nn.Embedding(7, 6).requires_grad_(False)
        self.query = torch.nn.Linear(6, 5)
        self.LayerNorm = torch.nn.LayerNorm(5)
        self.classifier = torch.nn.Linear(5, 3)
        self.register_buffer("scale", torch.tensor([2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.LayerNorm(self.query(self.embeddings(x)))) * self.scale


def main(stage: int, folder: Path) -> None:
    import deepspeed
    import deepspeed.comm.torch

    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # would compile C++
    deepspeed.init_distributed(dist_backend="gloo")
    torch.manual_seed(0)
    model = Model()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
    }
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=torch.optim.SGD(trained, lr=0.1), config=config, dist_init_required=False
    )
    torch.manual_seed(int(os.environ["RANK"]))
    engine.backward(engine(torch.randint(0, 7, (1, 4))).pow(2).sum())
    engine.step()
    engine.save_checkpoint(str(folder), tag="global_step1")
    if os.environ["RANK"] == "0":
        record(folder)


def record(folder: Path) -> None:
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from safetensors.torch import save_file

    state = get_fp32_state_dict_from_zero_checkpoint(str(folder))
    save_file(
        {name: tensor.detach().clone() for name, tensor in state.items()}, f"{folder}-expected.safetensors"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(__file__).parent / "deepspeed" / f"zero{sys.argv[1]}")
