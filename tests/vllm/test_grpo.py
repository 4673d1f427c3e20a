"""GRPO with vLLM in its own process and with a server: two steps, and faults that end a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from geovlm.errors import RunFailedError

pytestmark = pytest.mark.vllm

LORA = ("lora.r=4", "lora.dropout=0.05", "lora.vision=true")
TOLERANCE = 1e-5
"""Nats per token in float32, before and after a step of training."""


class Captured:
    """What a trainer made of its batches, and what it saw of vLLM."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.outputs, self.prompts = trainer, [], []
        self.writable: list[torch.Tensor] = []
        self.mode = trainer.vllm_generation.mode
        self.begun: dict[str, torch.Tensor] = {}
        score, generate = trainer._generate_and_score_completions, trainer.vllm_generation.generate

        def scored(inputs: Any) -> Any:
            self.outputs.append(score(inputs))
            self.writable.append(writable(trainer, self.outputs[-1]))
            return self.outputs[-1]

        def generated(prompts: Any, *args: Any, **given: Any) -> Any:
            found = generate(prompts, *args, **given)
            self.prompts.append((prompts, found[0]))
            return found

        trainer._generate_and_score_completions = scored
        trainer.vllm_generation.generate = generated

    def apart(self, step: int) -> float:
        """Mean difference of log-probabilities of a step, nats per token."""
        made = self.outputs[step]
        mask = made["completion_mask"].bool()
        own = made["old_per_token_logps"] - self.writable[step]
        return float((own - made["sampling_per_token_logps"])[mask].abs().mean())


def writable(trainer: Any, made: dict[str, Any]) -> torch.Tensor:
    """Log-probability of the tokens that vLLM may write, at each place of the completions.

    vLLM never writes tokens of images, and its log-probabilities are of the others alone. The
    trainer leaves some probability to them, as TRL does with completions of transformers too.
    """
    from geovlm.engine.generation.generate import image_tokens

    processor, length = trainer.processing_class, made["completion_ids"].shape[1]
    ids = torch.cat([made["prompt_ids"], made["completion_ids"]], dim=1)
    with torch.no_grad():
        logits = trainer.model(
            input_ids=ids,
            attention_mask=torch.cat([made["prompt_mask"], made["completion_mask"]], dim=1),
            mm_token_type_ids=(ids == processor.image_token_id).long(),
            pixel_values=made["pixel_values"],
            image_grid_thw=made["image_grid_thw"],
        ).logits
    never = logits[:, -length - 1 : -1].softmax(-1)[..., image_tokens(processor)].sum(-1)
    return torch.log1p(-never)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    from tests.vllm.rows import mixed

    first = mixed(tmp_path_factory.mktemp("rows"), number=2)
    return first * 2  # the second step asks the images of the first


@pytest.fixture(scope="module", params=["colocate", "colocate lora", "server", "server lora"])
def run(
    request: Any, one_engine: None, rows: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> Captured:
    """Two steps of training."""
    from tests.vllm import stages

    overrides = list(LORA) if "lora" in request.param else []
    if "server" in request.param:
        url = request.getfixturevalue("server").url
        overrides.append(f"stages.2.vllm.url={url}")
    way = f"vllm-{request.param.split()[0]}"
    folder = tmp_path_factory.mktemp("run")
    made = Captured(stages.trainer(folder, rows, *overrides, generation=way))
    made.begun = {k: v.detach().clone() for k, v in made.trainer.model.named_parameters()}
    made.trainer.train()
    return made


def test_vllm_answers_the_prompts_that_the_trainer_scores(run: Captured) -> None:
    assert len(run.prompts) == 2
    token = run.trainer.processing_class.image_token_id
    for own, used in run.prompts:
        assert [list(each) for each in used] == own
    assert {ids.count(token) for ids in run.prompts[0][0]} == {36, 72}  # one image, and two


def test_log_probabilities_agree_before_and_after_a_step(run: Captured) -> None:
    changed = [
        name
        for name, value in run.trainer.model.named_parameters()
        if value.requires_grad and not torch.equal(value, run.begun[name])
    ]
    assert any("visual" in name for name in changed)
    assert run.apart(0) < TOLERANCE
    assert run.apart(1) < TOLERANCE
    for made, kept in zip(run.outputs, run.writable, strict=False):
        expected = (kept * made["completion_mask"]).sum(dim=-1, keepdim=True).exp()
        assert (made["importance_sampling_ratio"] - expected).abs().max() < 1e-4
    for record in run.trainer.state.log_history[:2]:
        assert record["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.0, abs=5e-3)
        assert record["sampling/importance_sampling_ratio/masked"] == 0.0


def test_no_completion_has_a_token_of_an_image(run: Captured) -> None:
    from geovlm.engine.generation.generate import image_tokens

    forbidden = set(image_tokens(run.trainer.processing_class) or [])
    assert forbidden
    for made in run.outputs:
        assert not forbidden & set(made["completion_ids"].flatten().tolist())


def test_gradients_are_those_of_completions_by_transformers(
    run: Captured, rows: list[Any], tmp_path: Path
) -> None:
    from tests.vllm import stages

    overrides = LORA if any("lora" in name for name in run.begun) else ()
    other = stages.trainer(tmp_path, rows, *overrides, generation="transformers")
    made = dict(run.outputs[0])
    kept = (run.writable[0] * made["completion_mask"]).sum(dim=-1, keepdim=True).exp()
    made["importance_sampling_ratio"] = made["importance_sampling_ratio"] / kept
    plain = {k: v for k, v in made.items() if k not in _OF_VLLM}
    run.trainer.model.load_state_dict(run.begun, strict=False)
    other.model.load_state_dict(run.begun, strict=False)
    found, expected = _gradient(run.trainer, made), _gradient(other, plain)
    assert float(expected.norm()) > 0
    assert float((found - expected).norm() / expected.norm()) < 1e-4


def ask(run: Captured, rows: list[Any] | None = None) -> None:
    """Sync the weights and score completions, as at the begin of a step."""
    from tests.vllm import stages

    run.trainer._last_loaded_step = -1
    type(run.trainer)._generate_and_score_completions(
        run.trainer, rows or stages.batch(run.trainer)
    )


def test_a_prompt_that_is_expanded_twice_ends_the_run(run: Captured, monkeypatch: Any) -> None:
    if run.mode == "server":
        pytest.skip("a server gets features of images, and expands no prompt")
    monkeypatch.setattr(run.trainer.vllm_generation, "asked", lambda prompts: prompts)
    with pytest.raises(RunFailedError, match=r"row 0: .* image tokens were expanded twice"):
        ask(run)


def test_trl_still_hands_on_prompts_that_vllm_expands_again(run: Captured) -> None:
    """Where this fails, huggingface/trl#6294 is mended: remove `Generation.asked`."""
    if run.mode == "server":
        pytest.skip("a server gets features of images, and expands no prompt")
    from trl.generation.vllm_generation import VLLMGeneration

    from tests.vllm import stages

    prompt = run.prompts[0][0][0]
    token = run.trainer.processing_class.image_token_id
    images = stages.batch(run.trainer)[0]["images"]
    generation = run.trainer.vllm_generation
    used, *_ = VLLMGeneration.generate(generation, [prompt], [images], 1)
    assert used[0].count(token) == 2 * prompt.count(token) - len(images)


@pytest.mark.parametrize(
    "stale", ["language_model.norm.weight", "layers.0.self_attn.k_proj.weight", "patch_embed"]
)
def test_a_weight_that_stays_behind_ends_the_run(
    run: Captured, monkeypatch: Any, stale: str
) -> None:
    (name, weight), *_ = [
        (name, each) for name, each in _plain(run.trainer.model).items() if stale in name
    ]
    before = weight.detach().clone()
    lose(run, monkeypatch, stale)
    with torch.no_grad():
        weight.view(-1)[0] += 1e-4
    try:
        with pytest.raises(
            RunFailedError, match=f"vLLM has not got the trained weights: .*{stale}"
        ):
            ask(run)
    finally:
        weight.data.copy_(before)
    assert name


def test_features_of_the_old_vision_tower_end_the_run(run: Captured, monkeypatch: Any) -> None:
    ask(run)
    monkeypatch.setattr(run.trainer.vllm_generation, "forget_images", lambda: None)
    with pytest.raises(RunFailedError, match=r"still holds features of \d+ images"):
        ask(run)


def test_other_pixel_limits_end_the_run(run: Captured, tmp_path: Path) -> None:
    from tests.vllm import stages

    rows = stages.batch(run.trainer)
    for row in rows:
        row["images"] = [each.resize((168, 84)) for each in row["images"]]
    with pytest.raises(RunFailedError, match=r".*pixel limits differ"):
        ask(run, rows)


def test_dropout_ends_the_run(run: Captured) -> None:
    dropped = [m for m in run.trainer.model.modules() if isinstance(m, torch.nn.Dropout)]
    if not dropped:
        pytest.skip("the model has no dropout without an adapter")
    dropped[0].p = 0.05
    run.trainer.model.train()
    try:
        with pytest.raises(RunFailedError, match=r"dropout is on .*lora_dropout.* drops 0\.05"):
            ask(run)
    finally:
        dropped[0].p = 0.0


def test_other_log_probabilities_end_the_run(run: Captured, monkeypatch: Any) -> None:
    ask(run)
    generate = type(run.trainer.vllm_generation).generate

    def shifted(*args: Any, **given: Any) -> Any:
        used, ids, logprobs, names = generate(run.trainer.vllm_generation, *args, **given)
        logprobs[1] = [[each[0] - 0.5] for each in logprobs[1]]
        return used, ids, logprobs, names

    monkeypatch.setattr(run.trainer.vllm_generation, "generate", shifted)
    with pytest.raises(RunFailedError, match=r"row 1: .* other log-probabilities, 0\.5 apart"):
        ask(run)


def _stale(run: Captured, monkeypatch: Any) -> str:
    lose(run, monkeypatch, "layers.0.self_attn.k_proj.weight")
    return r"vLLM has not got the trained weights: .*layers\.0\.self_attn\.k_proj\.weight"


def _old_features(run: Captured, monkeypatch: Any) -> str:
    monkeypatch.setattr(run.trainer.vllm_generation, "forget_images", lambda: None)
    return "still holds features"


def _expanded(run: Captured, monkeypatch: Any) -> str:
    monkeypatch.setattr(run.trainer.vllm_generation, "asked", lambda prompts: prompts)
    return "expanded twice"


def _dropped(run: Captured, monkeypatch: Any) -> str:
    first = next(m for m in run.trainer.model.modules() if isinstance(m, torch.nn.Dropout))
    monkeypatch.setattr(first, "p", 0.05)
    return "dropout is on"


@pytest.mark.parametrize("plant", [_stale, _old_features, _expanded, _dropped])
def test_a_fault_ends_training_before_its_second_step(
    run: Captured, monkeypatch: Any, plant: Any
) -> None:
    if plant is _expanded and run.mode == "server":
        pytest.skip("a server gets features of images, and expands no prompt")
    if plant is _dropped and not any("lora" in name for name in run.begun):
        pytest.skip("the model has no dropout without an adapter")
    named = plant(run, monkeypatch)
    with pytest.raises(RunFailedError, match=named):
        run.trainer.train()
    assert run.trainer.state.global_step < 2


def _plain(model: Any) -> dict[str, Any]:
    return {name.replace(".base_layer", ""): each for name, each in model.named_parameters()}


def lose(run: Captured, monkeypatch: Any, stale: str) -> None:
    """Let a weight get lost on its way."""
    generation = run.trainer.vllm_generation
    if run.mode == "server":
        send = generation.vllm_client.update_named_params
        monkeypatch.setattr(
            generation.vllm_client,
            "update_named_params",
            lambda names, pairs: send(names, ((n, w) for n, w in pairs if stale not in n)),
        )
        return
    model = generation.llm.llm_engine.model_executor.driver_worker.model_runner.model
    load = model.load_weights
    monkeypatch.setattr(
        model, "load_weights", lambda pairs: load((n, w) for n, w in pairs if stale not in n)
    )


_OF_VLLM = ("importance_sampling_ratio", "sampling_per_token_logps", "old_per_token_logps")


def _gradient(trainer: Any, made: dict[str, Any]) -> torch.Tensor:
    trainer.model.train()
    trainer.model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, made).backward()
    parts = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    return torch.cat(parts)
