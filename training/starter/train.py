"""Fine-tune the ImageNet backbone for one program; checkpoint as it goes; resumable.

The budget is a number of images. Learning rate and image size follow the share that was drawn; each step draws by the seed and its own number, whatever
process draws it. The weights that are kept are an exponential moving average. No test image is looked at.
"""

import argparse
import copy
import json
import pathlib
import time

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from augment import augment
from data import load, normalise, resize, targets
from lesions import bleed
from network import FROZEN, Network
from programs import PROGRAMS

BATCH, PEAK, FLOOR, WARM, SMOOTHING, MIXUP = 32, 7e-4, 5e-6, 0.05, 0.03, 0.3
LARGE_FROM, SAVE_EVERY = 0.5, 60.0


def chances(rows, label):
    """Each combination of findings and each group counts by the square root of its number."""
    combination = [tuple(row) for row in label]
    count = {key: combination.count(key) for key in set(combination)}
    group = [row["group"] for row in rows]
    number = {key: group.count(key) for key in set(group)}
    weight = np.array([count[c] ** -0.6 * number[g] ** -0.5 for c, g in zip(combination, group)])
    return weight / weight.sum()


def rate(done):
    """Warm up, then half a cosine."""
    if done < WARM:
        return PEAK * (0.05 + 0.95 * done / WARM)
    return FLOOR + (PEAK - FLOOR) * 0.5 * (1 + np.cos(np.pi * min((done - WARM) / (1 - WARM), 1)))


def smooth_into(average, model, step):
    """Exponential moving average of parameters and batch statistics."""
    pairs = list(zip(average.state_dict().values(), model.state_dict().values()))
    smooth = [(old, new) for old, new in pairs if old.dtype.is_floating_point]
    get_ema_multi_avg_fn(min(0.99, (1 + step) / (10 + step)))(*map(list, zip(*smooth)), None)
    for old, new in pairs:
        if not old.dtype.is_floating_point:
            old.copy_(new)


def draw(program, image, label, size, rng):
    """One changed image as the network sees it, and its labels; some slices without haemorrhage get one."""
    names = list(program.labels)
    if program.synthetic and not label[names.index("haemorrhage")] and rng.random() < program.synthetic:
        made = bleed(image, rng)
        if made:
            image, label = made[0], label.clone()
            label[names.index("haemorrhage")] = label[names.index(made[1])] = 1
    return normalise(augment(image, size, rng, program)), label


class Steps(torch.utils.data.Dataset):
    """The batches of a training, each with its targets, by the number of the step."""

    def __init__(self, program, rows, images, label, seed, steps):
        self.program, self.images, self.seed, self.steps = program, images, seed, steps
        self.weight, self.label = chances(rows, label), torch.from_numpy(label)

    def __getitem__(self, step):
        rng = np.random.default_rng([self.seed, step])
        size = self.program.small if step < LARGE_FROM * self.steps else self.program.size
        chosen = rng.choice(len(self.images), BATCH, p=self.weight)
        drawn, found = zip(*(draw(self.program, self.images[i], self.label[i], size, rng) for i in chosen))
        batch = torch.from_numpy(np.stack(drawn))
        target = torch.stack(found) * (1 - 2 * SMOOTHING) + SMOOTHING
        if rng.random() < 0.4:
            share, order = float(rng.beta(MIXUP, MIXUP)), torch.from_numpy(rng.permutation(BATCH))
            batch, target = batch * share + batch[order] * (1 - share), target * share + target[order] * (1 - share)
        return batch.contiguous(memory_format=torch.channels_last), target


def predict(model, images, size, device):
    """Logits of images without augmentation."""
    model.eval()
    out = []
    with torch.no_grad():
        for start in range(0, len(images), 32):
            batch = torch.from_numpy(np.stack([normalise(resize(image, size)) for image in images[start:start + 32]]))
            out.append(model(batch.contiguous(memory_format=torch.channels_last).to(device)))
    return torch.cat(out).cpu().numpy()


def aurocs(label, logit):
    """One a finding; none where a class is missing."""
    return [round(float(roc_auc_score(t, s)), 4) if 0 < t.sum() < len(t) else None for t, s in zip(label.T, logit.T)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--imagenet", required=True, help="efficientnet-lite0-57934424.pth")
    parser.add_argument("--run", required=True, help="folder for checkpoints")
    parser.add_argument("--without", help="a fold that is left out, and looked at at the end")
    parser.add_argument("--images", type=int, help="how many are drawn; the program's own number unless said")
    parser.add_argument("--frozen", type=int, default=FROZEN, help="lowest blocks that stay as ImageNet left them; with stem, unless -1")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    program = PROGRAMS[args.program]
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    torch.set_flush_denormal(True)
    run = pathlib.Path(args.run)
    run.mkdir(parents=True, exist_ok=True)
    parts = {f"fold{n}" for n in range(program.folds)} - {args.without} if program.folds else {"train"}
    rows, images = load(program, args.data, parts)
    device, steps = torch.device(args.device), -(-(args.images or program.images) // BATCH)

    model = Network(program.channels, len(program.labels), args.frozen)
    model.load_imagenet(args.imagenet)
    model = model.to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([{"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.03},
                                   {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}], lr=PEAK)
    first, last = 0, run / "last.pt"
    if last.exists():
        state = torch.load(last, map_location=device)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    drawn = torch.utils.data.DataLoader(Steps(program, rows, images, targets(program, rows), args.seed, steps), batch_size=None, sampler=range(first, steps),
                                        num_workers=args.workers, prefetch_factor=8 if args.workers else None, pin_memory=device.type == "cuda")
    clock, since, losses = time.monotonic(), first, []
    model.train()
    for step, (batch, target) in enumerate(drawn, first):
        for group in optimiser.param_groups:
            group["lr"] = rate(step / steps)
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(batch.to(device, non_blocking=True))
        loss = functional.binary_cross_entropy_with_logits(logits.float(), target.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 5.0)
        optimiser.step()
        smooth_into(average, model, step + 1)
        losses.append(loss.detach())
        now = time.monotonic()
        if now - clock > SAVE_EVERY or step + 1 == steps:
            print(json.dumps({"step": step + 1, "of": steps, "loss": round(float(torch.stack(losses).mean()), 4),
                              "images_a_second": round((step + 1 - since) * BATCH / (now - clock), 1)}), flush=True)
            torch.save({"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}, run / "next.pt")
            (run / "next.pt").replace(last)
            clock, since, losses = now, step + 1, []
    torch.save({key: value.cpu() for key, value in average.state_dict().items()}, run / "final.pt")
    seen = {args.without} if args.without else {"calibration"}
    if args.without or not program.folds:
        rows, images = load(program, args.data, seen)
        print(json.dumps({"looked_at": sorted(seen), "images": len(rows), "auroc": dict(zip(program.labels, aurocs(targets(program, rows), predict(average, images, program.size, device))))}))


if __name__ == "__main__":
    main()
