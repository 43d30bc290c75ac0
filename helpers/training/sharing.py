"""An update means the same on one process and on several: the same rows in the same order, one loss over all of them.

``batch_size`` times ``grad_accumulation`` rows make an update, whoever computes them. On several processes each gets
its share of these rows, so settings, learning rate, number of updates and results do not depend on how many there are.
``Trainer`` alone multiplies: with as many rows *per process* an update has more rows, there are fewer updates, the last
ones are filled up with rows that were read already, and length groups are other ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler
from transformers import Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import EvalLoopOutput

from helpers.errors import HardwareError
from helpers.machine import ranks
from helpers.training import sharding
from helpers.training.losses import IGNORED
from helpers.training.shares import Every, Marked, Order, Share, shares

ORDER = "order_state.pth"  # of a checkpoint: the random state that its epoch's order was drawn from


class Shared(Trainer):
    """Mixin: a ``Trainer`` whose updates are shared out among all processes. On one process it changes nothing.

    With dropout results depend on the number of processes: each draws masks for its own rows.
    """

    order_state: torch.Tensor | None = None  # see ``Order``

    def __init__(self, model: Any = None, args: Any = None, **rest: Any) -> None:
        if args is not None:
            one_gpu(args)
            args = self._shared_out(args)
        super().__init__(model, args, **rest)

    def _shared_out(self, args: Any) -> Any:
        self._rows = args.per_device_train_batch_size * args.gradient_accumulation_steps
        self._batch = args.per_device_train_batch_size
        if ranks.world() > 1:
            args = copy.copy(args)
            args.gradient_accumulation_steps, args.per_device_train_batch_size = shares(
                self._rows, self._batch, ranks.world()
            )
            args.ddp_find_unused_parameters = args.ddp_broadcast_buffers = False  # every adapter is used in each pass
            each = f"{args.gradient_accumulation_steps} x {args.per_device_train_batch_size}"
            print(f"{ranks.world()} processes: of the {self._rows} rows of an update each reads {each}")
        return args

    def _get_train_sampler(self, *given: Any) -> Any:
        sampler = super()._get_train_sampler(*given)
        if not isinstance(sampler, LengthGroupedSampler):
            return sampler
        sampler.batch_size = self._rows  # groups as long as an update, not as this process's share of it
        return Order(sampler, self, math.ceil(len(sampler) / self._rows))

    def get_train_dataloader(self) -> DataLoader[Any]:
        if ranks.world() == 1:
            return super().get_train_dataloader()
        rows, collate = self._read(self.train_dataset, "training")
        order = self._get_train_sampler()
        if isinstance(order, RandomSampler):  # what accelerate makes of it on one process
            from accelerate.data_loader import SeedableRandomSampler

            order = SeedableRandomSampler(rows, data_seed=self.args.data_seed)
        updates = math.ceil(len(rows) / self._rows)

        def begin() -> None:
            if hasattr(order, "set_epoch"):
                order.set_epoch(self.state.global_step // updates)

        def marked(pairs: Sequence[tuple[Any, bool]]) -> Any:
            batch = collate([row for row, _ in pairs])
            batch["labels"][torch.tensor([not counts for _, counts in pairs])] = IGNORED
            return batch

        share = Share(order, self._rows, self._batch, begin)
        return DataLoader(Marked(rows), batch_sampler=share, collate_fn=marked)

    def _read(self, rows: Any, what: str) -> tuple[Any, Callable[[list[Any]], Any]]:
        """The rows without columns that the model does not read, and what makes a batch of them."""
        import datasets

        if isinstance(rows, datasets.Dataset):
            return self._remove_unused_columns(rows, description=what), self.data_collator
        return rows, self._get_collator_with_removed_columns(self.data_collator, description=what)

    def _per_process(self, count: Any) -> Any:
        """What this process's labels are divided by: those of all, per process, because gradients are averaged."""
        if ranks.world() == 1:
            return count
        own = torch.as_tensor(count, dtype=torch.float64, device="cpu").to(self.args.device, torch.float32)
        return float(self.accelerator.gather(own.reshape(1)).sum()) / ranks.world()

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        if ranks.world() == 1:
            return super().get_eval_dataloader(eval_dataset)
        rows, collate = self._read(self.eval_dataset if eval_dataset is None else eval_dataset, "evaluation")
        order = self._get_eval_sampler(rows) or range(len(rows))
        return DataLoader(rows, batch_sampler=Every(order, self.args.eval_batch_size), collate_fn=collate)

    def evaluation_loop(
        self, dataloader: Any, description: str, prediction_loss_only: bool | None = None,
        ignore_keys: Any = None, metric_key_prefix: str = "eval",
    ) -> Any:  # fmt: skip
        """On several processes: the batches that one would read, each read by one of them. Only the loss is made."""
        if ranks.world() == 1:
            return super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix=metric_key_prefix
            )
        model = self.model.eval()
        total = 0.0
        for number, batch in enumerate(dataloader):
            inputs = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                loss = self.compute_loss(model, inputs)
            if dataloader.batch_sampler.counts[number]:
                total += float(loss) * len(batch["labels"])
        n = len(dataloader.dataset)
        metrics = {f"{metric_key_prefix}_loss": sum(ranks.gathered(total)) / max(1, n)}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=n)

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if ranks.sharded() and self.args.device.type == "cpu":
            sharding.shard_on_cpu(self.accelerator)
            self.is_fsdp_enabled = True

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not ranks.sharded():
            return super().save_model(output_dir, _internal_call)
        state = sharding.trained_state(self.model)
        if self.args.should_save:
            self._save(output_dir, state_dict=state)
        return None

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if ranks.sharded():
            return sharding.load_adapter(self.model, resume_from_checkpoint)
        return super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not ranks.sharded():
            return super()._save_optimizer_and_scheduler(output_dir)
        state = sharding.optimizer_state(self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir, OPTIMIZER_NAME))
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))
        return None

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not ranks.sharded():
            return super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            of_optimizer, of_scheduler = (
                torch.load(Path(checkpoint, name), "cpu", weights_only=True)
                for name in (OPTIMIZER_NAME, SCHEDULER_NAME)
            )
            sharding.load_optimizer(self.optimizer, of_optimizer)
            self.lr_scheduler.load_state_dict(of_scheduler)
        return None

    def _save_rng_state(self, output_dir: str) -> None:
        """Those of process 0, as one process would write them: any number of processes can go on from there."""
        if ranks.first():
            with _alone(self.args):
                super()._save_rng_state(output_dir)
            if self.order_state is not None:
                torch.save(self.order_state, Path(output_dir, ORDER))

    def _load_rng_state(self, checkpoint: Any) -> None:
        with _alone(self.args):
            super()._load_rng_state(checkpoint)

    def remember(self, checkpoint: Path) -> None:
        """Before training goes on from a checkpoint: the order of the epoch that it stands in."""
        if (kept := checkpoint / ORDER).is_file():
            self.order_state = torch.load(kept, weights_only=True)


class PlainTrainer(Shared):
    """``Trainer`` for a model that computes its own loss, on one process or several."""

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        if ranks.world() > 1 and not self.model_accepts_loss_kwargs:
            raise HardwareError(
                f"{type(self.model).__name__} takes each batch's own mean loss, which processes cannot average",
                "Train it on one process",
            )


@contextmanager
def _alone(args: Any) -> Iterator[None]:
    """A block in which a trainer believes to be the only process."""
    state, args.distributed_state = args.distributed_state, None
    try:
        yield
    finally:
        args.distributed_state = state


def one_gpu(args: Any) -> None:
    """Refuse what ``Trainer`` does where one process sees several GPUs: ``DataParallel``.

    It copies the model to all of them for each batch, multiplies ``batch_size`` by their number, and does not work with
    4-bit weights.

    Raises:
        HardwareError: several are visible.
    """
    if args.n_gpu > 1:
        raise HardwareError(
            f"{args.n_gpu} GPUs are visible to this process, and Trainer would use DataParallel",
            "Restart and begin with: import os; os.environ['CUDA_VISIBLE_DEVICES'] = '0'. To train on all of them, "
            "type: python -m helpers train, with the lesson and --processes",
        )
