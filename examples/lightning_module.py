"""How many bits does each layer need? The search inside a LightningModule, stopped half way and resumed.

Run it with `python examples/lightning_module.py` (`pip install lightning`); it takes some seconds. Lightning's
checkpoint holds all that a search has: weights, logits, ranges, Adam's moments, and the state of the draws. So the
resumed search finds what one that was never stopped finds, to the bit.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from nets import SmallCNN, digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import precsearch
from precsearch.torchvision_import import import_torchvision

import_torchvision()  # Lightning imports it, which by itself fails beside a CPU build of torch
import lightning  # noqa: E402

SEARCH_EPOCHS = 10
STOP_AFTER = 4
FINETUNE_EPOCHS = 6
HOT, COLD = 2.0, 0.2  # the draws' temperature, at first and at last


class OnDigits(lightning.LightningModule):
    """A network that learns the digits; nothing here is of precsearch.

    Args:
        network: images -> logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training_pair, self.test_pair = digits()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """All parameters alike."""
        return torch.optim.Adam(self.network.parameters(), lr=3e-3)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch."""
        inputs, targets = batch
        return nn.functional.cross_entropy(self.network(inputs), targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """A searchable network has here the bits that the search would end with now."""
        inputs, targets = batch
        self.log("right", (self.network(inputs).argmax(1) == targets).float().mean())

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches whose order follows from the epoch, so that a resumed training sees the same ones."""
        images = TensorDataset(*self.training_pair)
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.current_epoch)).tolist()
        return DataLoader(images, batch_size=64, sampler=order)

    def val_dataloader(self) -> DataLoader[Any]:
        """The images that are not trained on."""
        return DataLoader(TensorDataset(*self.test_pair), batch_size=512)


class BitSearch(OnDigits):
    """The same, with bit-widths that are learned with the weights.

    Args:
        limit: bits on average, of the weights and of what the layers read.
    """

    def __init__(self, limit: float = 3.0) -> None:
        budget = precsearch.Budget("average_bits", limit)
        super().__init__(precsearch.SearchableModel(SmallCNN(), budget, example_input=torch.rand(2, 1, 8, 8)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Weights and logits in one optimizer, a group each."""
        return torch.optim.Adam(self.network.parameter_groups(lr=3e-3))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Cool down."""
        done = self.global_step / (self.trainer.num_training_batches * SEARCH_EPOCHS)
        self.network.temperature = HOT * (COLD / HOT) ** done


def train(module: OnDigits, folder: Path, epochs: int, resume: Path | None = None) -> lightning.Trainer:
    """Train up to `epochs`, from a checkpoint where there is one."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,  # no range is known before the first training batch
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
    )
    trainer.fit(module, ckpt_path=resume, weights_only=True)
    return trainer


def main(folder: Path) -> None:
    """Search, stop, resume in a fresh module, print the answer and fine-tune it."""
    torch.set_num_threads(1)  # a network this small is fastest on one processor
    lightning.seed_everything(0, verbose=False)
    train(BitSearch(), folder, STOP_AFTER).save_checkpoint(folder / "stopped.ckpt")

    search = BitSearch()
    ended = train(search, folder, SEARCH_EPOCHS, resume=folder / "stopped.ckpt").current_epoch
    print(f"stopped after {STOP_AFTER} epochs, resumed, ended after {ended}")

    allocation = search.network.allocation()
    print("layer   weight bits  activation bits")
    for layer in allocation.layers:
        print(f"{layer.name:6}  {layer.bits('weight'):11}  {layer.bits('activation'):15}")
    use = allocation.budget
    kept = use.achieved <= use.limit
    print(f"{use.kind}: {use.achieved:.2f} of {use.limit:.2f} allowed: {'kept' if kept else 'BROKEN'}")

    finetuned = train(OnDigits(search.network.freeze()), folder, FINETUNE_EPOCHS)
    print(f"fine-tuned: {100 * float(finetuned.callback_metrics['right']):.2f} % of the test images right")
    if not kept:
        sys.exit("the allocation does not keep its budget")


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # its advice: more workers, a logger
    with tempfile.TemporaryDirectory() as temporary:
        main(Path(temporary))
