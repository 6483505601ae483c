"""What became of the faults of transformers and trl: each version meets a case in a process of its own."""

import gc
import inspect
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from test_losses_of_trainers import printed

from xentcli import evaluate, load_case
from xentcli.model import Case

pytestmark = pytest.mark.frameworks
# One ulp of float32 from 2 to 4: logits and log-sum-exps are up to that, and what a step leaves of a logit.
_ULP = 2.0**-22
_HUB = "huggingface_hub-0.36.2"
_TO_4_46 = ("tokenizers-0.20.3", _HUB)
_FROM_4_47 = ("tokenizers-0.21.4", _HUB)
Alone = Callable[..., Any]


@pytest.fixture(scope="module")
def alone() -> Iterator[Alone]:
    """Return what calls a function in a new process, which imports what is in folders before all else."""
    context = multiprocessing.get_context("forkserver")
    # What takes long to import, and is the same for all; each process is forked from one that has it.
    context.set_forkserver_preload(
        ["torch", "torch._dynamo", "torch.distributed.tensor", "pytest", "xentcli.api"]
    )
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:

        def called(function: Callable[..., Any], names: tuple[str, ...], *arguments: Any) -> Any:
            folders = [Path(sys.prefix, "older", name) for name in names]  # where the Makefile puts them
            for folder in folders:
                if not folder.exists():
                    pytest.skip(f"{folder.name} is not installed; .ci/run tests with it")
            return pool.submit(_in_folders, function, list(map(str, folders)), *arguments).result()

        yield called


def _in_folders(function: Callable[..., Any], folders: list[str], *arguments: Any) -> Any:
    sys.path[:0] = folders
    os.environ.update(USE_TF="0", USE_FLAX="0")  # the Keras that is installed is too new for the old ones
    modules: Any = sys.modules
    modules.update(scipy=None, sklearn=None)  # no loss needs them, and they are slow to import
    for folder in folders:
        name, _, version = Path(folder).name.rpartition("-")
        assert metadata.version(name) == version
    return function(*arguments)


def step(cases: list[Case]) -> list[list[tuple[float, list[list[float]]]]]:
    """Take a step of which the parts of a case are micro-batches; return the reported loss, and the step.

    For each case those are of a Llama, which is given the count of the whole batch where a version does so,
    and of a model that takes the mean by itself. The logits are their parameters.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

    gc.freeze()  # or each training would search all that was imported for garbage

    class Own(torch.nn.Module):  # type: ignore[misc] # a class of torch is Any
        def __init__(self, rows: Any) -> None:
            super().__init__()
            self.rows = rows

        def forward(self, input_ids: Any, labels: Any) -> dict[str, Any]:
            logits, targets = self.rows(input_ids)[:, :-1], labels[:, 1:]
            return {"loss": torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())}

    def llama(rows: Any) -> Any:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=rows.embedding_dim,
                hidden_size=rows.embedding_dim,
                num_hidden_layers=0,
                num_attention_heads=1,
                pad_token_id=None,
                use_cache=False,  # old versions would hand on a cache that no layer made
            )
        )
        model.model.embed_tokens, model.model.norm, model.lm_head = (
            rows,
            torch.nn.Identity(),
            torch.nn.Identity(),
        )
        return model

    def stepped(model_of: Callable[[Any], Any], case: Case) -> tuple[float, list[list[float]]]:
        batch = case.batch
        assert batch.parts is not None
        assert batch.class_labels is not None
        before, k = torch.tensor(batch.logits.copy(), dtype=torch.float32), batch.class_labels.tolist()
        rows = torch.nn.Embedding.from_pretrained(before.clone(), freeze=False)
        # The logits of a token are for the label after it: the first label and the last logits have no other.
        micro_batches = [
            {"input_ids": [*range(len(k))[part], 0], "labels": [-100, *k[part]]}
            for part in batch.parts.slices
        ]
        descent = torch.optim.SGD([rows.weight], lr=1.0)  # a step is the gradient
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model_of(rows),
                TrainingArguments(
                    folder,
                    per_device_train_batch_size=1,
                    gradient_accumulation_steps=len(micro_batches),
                    max_steps=1,
                    max_grad_norm=0.0,  # a gradient of any length
                    save_strategy="no",
                    report_to=[],
                    use_cpu=True,
                    disable_tqdm=True,
                ),
                train_dataset=micro_batches,
                optimizers=(descent, torch.optim.lr_scheduler.LambdaLR(descent, lambda _: 1.0)),
            )
            return trainer.train().training_loss, (before - rows.weight.detach()).tolist()

    return [[stepped(model_of, case) for model_of in (llama, Own)] for case in cases]


@pytest.mark.parametrize(
    ("names", "of_llama", "reported", "taken"),
    [
        (("transformers-4.45.2", *_TO_4_46), "mean_of_means", "mean_of_means", "mean_of_means"),
        (("transformers-4.46.1", *_TO_4_46), "mean_over_all", "sum_of_means", "sum_of_means"),
        (("transformers-4.47.0", *_FROM_4_47), "sum_of_means", "mean_of_means", "sum_of_means"),
        (("transformers-4.47.1", *_FROM_4_47), "mean_over_all", "sum_of_means", "sum_of_means"),
        (("transformers-4.48.0", *_FROM_4_47), "sum_of_means", "mean_of_means", "mean_of_means"),
        (("transformers-4.48.1", *_FROM_4_47), "mean_over_all", "mean_of_means", "mean_of_means"),
        ((), "mean_over_all", "mean_of_means", "mean_of_means"),
    ],
    ids=lambda value: (value or ["installed"])[0] if isinstance(value, tuple) else value,
)
def test_a_step_of_transformers_is_that_of_a_mean(
    alone: Alone, names: tuple[str, ...], of_llama: str, reported: str, taken: str
) -> None:
    pytest.importorskip("transformers", reason="is not installed; .ci/run tests with it")
    cases = [load_case("mean-of-means"), load_case("chunk-means-are-summed")]

    steps = alone(step, names, cases)

    for case, (llama, own) in zip(cases, steps, strict=True):
        means = evaluate(case)
        for (loss, gradient), loss_of, gradient_of in ((llama, of_llama, of_llama), (own, reported, taken)):
            expected = means[gradient_of].gradient
            assert expected is not None
            assert loss == pytest.approx(means[loss_of].loss, rel=4 * 2.0**-23)  # of a few losses in float32
            assert np.array(gradient) == pytest.approx(expected / float(case.batch.divisor), rel=0, abs=_ULP)


def loss_of_grpo(case: Case) -> float:
    """Return what a GRPOTrainer makes of the logits at the temperature it samples with."""
    import torch

    modules: Any = sys.modules  # their names are all it needs of them here
    modules.update({name: MagicMock(__spec__=ModuleSpec(name, None)) for name in ("datasets", "pandas")})
    from trl.trainer.grpo_trainer import GRPOTrainer

    (x,), k = case.batch.logits, case.batch.class_labels
    assert k is not None
    logits = torch.tensor(np.array([[x, np.zeros_like(x)]]), dtype=torch.float32)  # the last are dropped
    tokens = torch.tensor([[0, *k]])
    (((log_probability,),),) = (
        inspect.unwrap(GRPOTrainer._get_per_token_logps)(  # noqa: SLF001 - what its loss is made of
            SimpleNamespace(temperature=case.batch.knobs.value("temperature")),
            lambda **_: SimpleNamespace(logits=logits),
            tokens,
            torch.ones_like(tokens),
            1,
        ).tolist(),
    )
    return -float(log_probability)


@pytest.mark.parametrize(("version", "keeps_it"), [("0.15.2", False), ("0.16.0", True)])
def test_the_grpo_of_trl_left_the_temperature_out_until_0_16(
    alone: Alone, version: str, keeps_it: bool
) -> None:
    case = load_case("temperature-on-logprobs")
    untempered = evaluate(logits=case.batch.logits, labels=case.batch.class_labels).true_loss

    loss = alone(loss_of_grpo, (f"trl-{version}", "transformers-4.48.1", *_FROM_4_47), case)

    assert loss == pytest.approx(printed(case, "log1p") if keeps_it else untempered, rel=0, abs=_ULP)


def loss_of_async_grpo(case: Case) -> float:
    """Return what the model of an AsyncGRPOTrainer makes of hidden states that are logits."""
    import torch

    sys.modules["pandas"] = MagicMock(__spec__=ModuleSpec("pandas", None))
    from trl.trainer.utils import patch_chunked_lm_head

    (x,), k = case.batch.logits, case.batch.class_labels
    assert k is not None
    states = torch.tensor(np.array([[x, np.zeros_like(x)]]), dtype=torch.float32)  # the last are dropped
    model = SimpleNamespace(
        config=SimpleNamespace(
            final_logit_softcapping=case.batch.knobs.value("softcap"),
            logit_scale=case.batch.knobs.value("scale"),
        ),
        model=lambda **_: SimpleNamespace(last_hidden_state=states),
        lm_head=SimpleNamespace(weight=torch.eye(len(x))),
    )
    patch_chunked_lm_head(model, len(x), 1.0)
    tokens = torch.tensor([[0, *k]])
    ((log_probability,),) = model.forward(tokens, labels=tokens)["log_probs"].tolist()
    return -float(log_probability)


def test_the_chunks_of_trl_refuse_a_softcap_until_1_5_which_applies_it_after_the_scale(alone: Alone) -> None:
    case = load_case("softcap-before-scale")

    with pytest.raises(NotImplementedError, match="final_logit_softcapping"):
        alone(loss_of_async_grpo, ("trl-1.4.0",), case)
    loss = alone(loss_of_async_grpo, ("trl-1.5.0",), case)

    assert loss == pytest.approx(printed(case, "log1p"), rel=0, abs=_ULP)
