"""The training step of the reference GPT in PyTorch on the CPU, float32: python pytorch.py > pytorch.json (needs torch; never a dependency)."""
import json, os, statistics, time
import torch
import torch.nn.functional as F

V, W, L, H, I, B, T = 512, 128, 4, 4, 512, 8, 128
D = W // H
torch.manual_seed(0)
table = torch.nn.Parameter(torch.randn(V, W) * 0.02)
layers = [{"n1": torch.ones(W), "qkv": torch.randn(W, 3 * W) * 0.02, "out": torch.randn(W, W) * 0.02, "n2": torch.ones(W), "up": torch.randn(W, 2 * I) * 0.02, "down": torch.randn(I, W) * 0.02} for _ in range(L)]
layers = [{k: torch.nn.Parameter(v) for k, v in l.items()} for l in layers]
last = torch.nn.Parameter(torch.ones(W))
matrices = [table] + [l[k] for l in layers for k in ("qkv", "out", "up", "down")]
norms = [last] + [l[k] for l in layers for k in ("n1", "n2")]
optimiser = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": norms, "weight_decay": 0.0}], lr=1e-3)
angle = torch.arange(T)[:, None] * 10000.0 ** (-torch.arange(D // 2) / (D // 2))
cos, sin = angle.cos(), angle.sin()
ids = torch.randint(0, V, (B, T))
targets = (3 * ids + 7) % V


def turn(x):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def step():
    x = table[ids]
    for l in layers:
        q, k, v = (y.view(B, T, H, D).transpose(1, 2) for y in (F.rms_norm(x, (W,), l["n1"], 1e-5) @ l["qkv"]).chunk(3, -1))
        seen = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True).transpose(1, 2).reshape(B, T, W)
        x = x + seen @ l["out"]
        gate, up = (F.rms_norm(x, (W,), l["n2"], 1e-5) @ l["up"]).chunk(2, -1)
        x = x + (F.silu(gate) * up) @ l["down"]
    loss = F.cross_entropy((F.rms_norm(x, (W,), last, 1e-5) @ table.T).view(-1, V), targets.view(-1))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


for _ in range(3):
    step()
times = []
for _ in range(15):
    start = time.perf_counter()
    step()
    times.append((time.perf_counter() - start) * 1000)
q1, ms, q3 = statistics.quantiles(times, n=4)
print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "load": os.getloadavg(), "ms": round(ms, 1), "q1": round(q1, 1), "q3": round(q3, 1), "tokens": B * T}))
