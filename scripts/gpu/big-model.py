"""What scripts/gpu/big-model.ts measures, in PyTorch with transformers and PEFT: sizes of Qwen2.5-VL-3B, random weights in
bfloat16, LoRA of rank 8 on all text projections. Needs torch, transformers and peft; never a dependency of the project.

  python3 scripts/gpu/big-model.py --out big-model-torch.json
"""
import argparse
import json
import statistics
import time
import traceback

import peft
import torch
import transformers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM

TARGETS = r".*\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"


def options():
    parser = argparse.ArgumentParser()
    for name, value in dict(layers=36, hidden=2048, heads=16, kv_heads=2, intermediate=11008, vocab=151936, vision_depth=32, rank=8, tokens=1024, prompt_tokens=128, new_tokens=64, steps=3).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--out")
    return parser.parse_args()


def config_of(o):
    half = o.hidden // o.heads // 2
    section = [half // 4, half * 3 // 8]
    rope = {"mrope_section": [*section, half - sum(section)]}
    text = dict(
        vocab_size=o.vocab, hidden_size=o.hidden, intermediate_size=o.intermediate, num_hidden_layers=o.layers, num_attention_heads=o.heads,
        num_key_value_heads=o.kv_heads, max_position_embeddings=128000, rms_norm_eps=1e-6, tie_word_embeddings=True, use_sliding_window=False,
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )
    vision = dict(depth=o.vision_depth, hidden_size=1280, intermediate_size=3420, num_heads=16, patch_size=14, out_hidden_size=o.hidden, window_size=112, fullatt_block_indexes=[b for b in (7, 15, 23, 31) if b < o.vision_depth], tokens_per_second=2)
    # The rotary settings have one name from version 5 on, and two before.
    new = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, **rope}}
    old = {"rope_theta": 1e6, "rope_scaling": {"type": "mrope", **rope}}
    for settings in (new, old) if int(transformers.__version__.split(".")[0]) >= 5 else (old, new):
        try:
            return Qwen2_5_VLConfig(text_config={**text, **settings}, vision_config=vision, tie_word_embeddings=True, image_token_id=o.vocab - 4, video_token_id=o.vocab - 3, vision_start_token_id=o.vocab - 2, vision_end_token_id=o.vocab - 1)
        except (TypeError, KeyError, ValueError) as error:
            failed = error
    raise failed


def text_config_of(o):
    """The text tower alone, for versions that refuse the config above."""
    return Qwen2Config(vocab_size=o.vocab, hidden_size=o.hidden, intermediate_size=o.intermediate, num_hidden_layers=o.layers, num_attention_heads=o.heads, num_key_value_heads=o.kv_heads, max_position_embeddings=128000, rms_norm_eps=1e-6, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=None)


def random_model(o, dtype):
    """The model, or its text tower where that cannot be made."""
    try:
        return made(o, dtype, Qwen2_5_VLForConditionalGeneration, config_of(o))
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return made(o, dtype, Qwen2ForCausalLM, text_config_of(o))


def made(o, dtype, kind, config):
    """Weights are drawn on the device; norms are ones, as they are made."""
    config._attn_implementation = o.attention
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(o.device):
            model = kind(config)
    finally:
        torch.set_default_dtype(before)
    generator = torch.Generator(device=o.device).manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.02, generator=generator)
    model.tie_weights()
    return peft.get_peft_model(model, peft.LoraConfig(r=o.rank, lora_alpha=o.rank, lora_dropout=0.0, target_modules=TARGETS))


def synchronise(o):
    if o.device == "cuda":
        torch.cuda.synchronize()


def seconds(o, work):
    synchronise(o)
    start = time.perf_counter()
    work()
    synchronise(o)
    return time.perf_counter() - start


def reset_peak(o):
    if o.device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak(o):
    return torch.cuda.max_memory_allocated() if o.device == "cuda" else None


def random_ids(o, rows, length):
    return torch.randint(0, o.vocab - 8, (rows, length), device=o.device)


def train(o, model):
    """One row of text a step: forward, backward, AdamW on the adapter (float32, as PEFT keeps it)."""
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
    ids = random_ids(o, 1, o.tokens)
    positions = torch.arange(o.tokens, device=o.device).expand(3 if hasattr(model.config, "vision_config") else 1, 1, -1)
    losses = []

    def step():
        loss = model(input_ids=ids, position_ids=positions if positions.shape[0] == 3 else positions[0], labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())

    reset_peak(o)
    first = seconds(o, step)
    times = [seconds(o, step) for _ in range(o.steps)]
    assert all(x == x and abs(x) < 1e6 for x in losses), losses
    median = statistics.median(times)
    return {"tokens": o.tokens, "firstSeconds": first, "stepSeconds": median, "times": times, "tokensPerSecond": o.tokens / median, "losses": losses, "peakBytes": peak(o)}


def sample(o, model, prompts):
    """Greedy, with the key-value cache; prompts read included. The second call is timed."""
    model.eval()
    ids = random_ids(o, prompts, o.prompt_tokens)

    def work():
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=o.new_tokens, min_new_tokens=o.new_tokens, use_cache=True, pad_token_id=0)
        assert out.shape == (prompts, o.prompt_tokens + o.new_tokens), out.shape

    reset_peak(o)
    first = seconds(o, work)
    time_ = seconds(o, work)
    return {"prompts": prompts, "promptTokens": o.prompt_tokens, "newTokens": o.new_tokens, "firstSeconds": first, "seconds": time_, "tokensPerSecond": prompts * o.new_tokens / time_, "peakBytes": peak(o)}


def attempt(what, work):
    """A part that fails is told and does not take the others with it."""
    try:
        result = work()
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        result = {"failed": f"{type(error).__name__}: {error}"[:500]}
    print(what, json.dumps(result), flush=True)
    return result


def main():
    o = options()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    name = torch.cuda.get_device_name() if o.device == "cuda" else "cpu"
    print(name, versions, flush=True)
    dtype = torch.bfloat16
    start = time.perf_counter()
    model = random_model(o, dtype)
    synchronise(o)
    result = {"sizes": vars(o), "device": name, "dtype": str(dtype), **versions, "model": type(model.get_base_model()).__name__, "loadSeconds": time.perf_counter() - start, "parameters": sum(p.numel() for p in model.parameters()), "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad), "heldBytes": torch.cuda.memory_allocated() if o.device == "cuda" else None}
    print(json.dumps(result), flush=True)
    result["training"] = attempt("training:", lambda: train(o, model))
    result["generation"] = [attempt("generation:", lambda: sample(o, model, prompts)) for prompts in (1, 8)]
    if o.out:
        with open(o.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
