"""Fine-tune the ImageNet backbone for one program; checkpoint as it goes; resumable.

The budget is processor time, so that a busy machine trains as much as an idle one. Learning rate and image size follow the
share that is spent. The weights that are kept are an exponential moving average. No test image is looked at.
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

from augment import augment
from data import load, normalise, resize, targets
from lesions import bleed
from network import Network
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
    keep = min(0.99, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(average.state_dict().values(), model.state_dict().values()):
            if old.dtype.is_floating_point:
                old.mul_(keep).add_(new, alpha=1 - keep)
            else:
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


def predict(model, images, size):
    """Logits of images without augmentation."""
    model.eval()
    out = []
    with torch.no_grad():
        for start in range(0, len(images), 32):
            batch = torch.from_numpy(np.stack([normalise(resize(image, size)) for image in images[start:start + 32]]))
            out.append(model(batch.contiguous(memory_format=torch.channels_last)))
    return torch.cat(out).numpy()


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
    parser.add_argument("--minutes", type=float, help="processor time; the program's own unless said")
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
    label = targets(program, rows)
    weight, label = chances(rows, label), torch.from_numpy(label)

    model = Network(program.channels, len(program.labels))
    model.load_imagenet(args.imagenet)
    model = model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW([{"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.03},
                                   {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}], lr=PEAK)
    step, spent, last = 0, 0.0, run / "last.pt"
    if last.exists():
        state = torch.load(last)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    budget = (args.minutes or program.minutes) * 60
    clock, saved, losses = time.process_time(), spent, []
    model.train()
    while spent < budget:
        rng = np.random.default_rng([args.seed, step])
        size = program.small if spent / budget < LARGE_FROM else program.size
        chosen = rng.choice(len(rows), BATCH, p=weight)
        drawn, found = zip(*(draw(program, images[i], label[i], size, rng) for i in chosen))
        batch = torch.from_numpy(np.stack(drawn))
        target = torch.stack(found) * (1 - 2 * SMOOTHING) + SMOOTHING
        if rng.random() < 0.4:
            share, order = float(rng.beta(MIXUP, MIXUP)), torch.from_numpy(rng.permutation(BATCH))
            batch, target = batch * share + batch[order] * (1 - share), target * share + target[order] * (1 - share)
        for group in optimiser.param_groups:
            group["lr"] = rate(spent / budget)
        loss = functional.binary_cross_entropy_with_logits(model(batch.contiguous(memory_format=torch.channels_last)), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 5.0)
        optimiser.step()
        step += 1
        smooth_into(average, model, step)
        losses.append(loss.item())
        now = time.process_time()
        spent, clock = spent + now - clock, now
        if spent - saved > SAVE_EVERY or spent >= budget:
            print(json.dumps({"step": step, "spent_s": round(spent), "size": size, "loss": round(float(np.mean(losses)), 4),
                              "images_a_second": round(len(losses) * BATCH / (spent - saved), 1)}), flush=True)
            torch.save({"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                        "step": step, "spent": spent}, run / "next.pt")
            (run / "next.pt").replace(last)
            saved, losses = spent, []
    torch.save(average.state_dict(), run / "final.pt")
    seen = {args.without} if args.without else {"calibration"}
    if args.without or not program.folds:
        rows, images = load(program, args.data, seen)
        print(json.dumps({"looked_at": sorted(seen), "images": len(rows), "auroc": dict(zip(program.labels, aurocs(targets(program, rows), predict(average, images, program.size))))}))


if __name__ == "__main__":
    main()
