"""Fine-tune the ImageNet backbone within a time budget; checkpoint every epoch; resumable.

Learning rate and image size follow the share of the budget that is spent, so that a run ends
on time on any machine. The weights that are kept are an exponential moving average.
"""

import argparse
import copy
import json
import pathlib
import time

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from augment import augment
from dataset import SIZE, load_part, normalise, read_labels, targets
from model import Lite0

BATCH = 32
SIZES = ((0.30, 160), (0.60, 192), (1.01, 224))
PEAK, FLOOR, WARM = 8e-4, 4e-6, 0.04
SMOOTHING, MIXUP, AUXILIARY = 0.04, 0.3, 0.2


class Drawn(Dataset):
    """Augmented images; `draws` is a list of (row, size, seed)."""

    def __init__(self, images, draws):
        self.images, self.draws = images, draws

    def __len__(self):
        return len(self.draws)

    def __getitem__(self, index):
        row, size, seed = self.draws[index]
        image = augment(self.images[row].astype(np.float32) / 255, np.random.default_rng(seed))
        if size != SIZE:
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(normalise(image))[None], row


def weights_of(rows, label):
    """Classes weigh the same; a child's images share the square root of their number."""
    patients = [row["patient"] for row in rows]
    count = {patient: patients.count(patient) for patient in set(patients)}
    weight = np.array([count[patient] ** -0.5 for patient in patients])
    for value in (0, 1):
        weight[label == value] /= weight[label == value].sum()
    return weight / weight.sum()


def rate(done):
    """Warm up, then half a cosine."""
    if done < WARM:
        return PEAK * (0.05 + 0.95 * done / WARM)
    return FLOOR + (PEAK - FLOOR) * 0.5 * (1 + np.cos(np.pi * min((done - WARM) / (1 - WARM), 1)))


def smooth_into(average, model, step):
    """Exponential moving average of parameters and batch statistics."""
    keep = min(0.997, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(average.state_dict().values(), model.state_dict().values()):
            if old.dtype.is_floating_point:
                old.mul_(keep).add_(new, alpha=1 - keep)
            else:
                old.copy_(new)


def predict(model, images, size):
    """Logits of uint8 images without augmentation."""
    model.eval()
    out = []
    with torch.no_grad():
        for start in range(0, len(images), 64):
            batch = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) if size != SIZE else image
                     for image in images[start:start + 64]]
            batch = torch.from_numpy(normalise(np.stack(batch).astype(np.float32) / 255))[:, None]
            out.append(model(batch.contiguous(memory_format=torch.channels_last))[0])
    return torch.cat(out).float().numpy()


def loss_of(model, batch, label, organism, known, rng, half):
    """Smoothed, mixed cross-entropy, and the organism's where it is known and nothing is mixed."""
    mix = rng.random() < 0.5
    target = label * (1 - 2 * SMOOTHING) + SMOOTHING
    if mix:
        share = float(rng.beta(MIXUP, MIXUP))
        order = torch.from_numpy(rng.permutation(len(batch)))
        batch, target = batch * share + batch[order] * (1 - share), target * share + target[order] * (1 - share)
    batch = batch.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logit, other = model(batch)
    loss = functional.binary_cross_entropy_with_logits(logit.float(), target)
    if not mix and known.any():
        loss = loss + AUXILIARY * functional.binary_cross_entropy_with_logits(other.float()[known], organism[known])
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--imagenet", required=True, help="efficientnet-lite0-57934424.pth")
    parser.add_argument("--run", required=True, help="folder for checkpoints")
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--images-an-epoch", type=int, default=3968)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    run = pathlib.Path(args.run)
    run.mkdir(parents=True, exist_ok=True)

    rows, images = load_part(args.data, "train")
    seen_rows, seen = load_part(args.data, "calibration")
    label, weight = targets(rows), None
    weight = weights_of(rows, label)
    names = read_labels(args.data)
    kind = [names[row["file"]]["organism"] for row in rows]
    organism = torch.tensor([float(value == "bacteria") for value in kind])
    known = torch.tensor([value in ("bacteria", "virus") for value in kind])
    label = torch.from_numpy(label)

    model = Lite0()
    model.load_imagenet(args.imagenet)
    model = model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], lr=PEAK)
    step, epoch, spent = 0, 0, 0.0
    last = run / "last.pt"
    if last.exists():
        state = torch.load(last)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, epoch, spent = state["step"], state["epoch"], state["spent"]
    budget = args.minutes * 60
    while spent < budget:
        rng = np.random.default_rng([args.seed, epoch])
        size = next(size for until, size in SIZES if spent / budget < until)
        chosen = rng.choice(len(rows), args.images_an_epoch, p=weight)
        draws = [(int(row), size, int(rng.integers(2**62))) for row in chosen]
        loader = DataLoader(Drawn(images, draws), BATCH, num_workers=1, prefetch_factor=4, drop_last=True)
        model.train()
        losses, began = [], time.time()
        for batch, row in loader:
            done = (spent + time.time() - began) / budget
            if done >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = rate(done)
            loss = loss_of(model, batch, label[row], organism[row], known[row], rng, args.bf16)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            step += 1
            smooth_into(average, model, step)
            losses.append(loss.item())
        spent, epoch = spent + time.time() - began, epoch + 1
        truth = targets(seen_rows)
        logit = predict(average, seen, size)
        line = {"epoch": epoch, "step": step, "size": size, "spent_s": round(spent), "loss": round(float(np.mean(losses)), 4),
                "images_a_second": round(len(losses) * BATCH / (time.time() - began), 1), "calibration_auroc": round(roc_auc_score(truth, logit), 5)}
        print(json.dumps(line), flush=True)
        state = {"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                 "step": step, "epoch": epoch, "spent": spent}
        torch.save(state, run / "next.pt")
        (run / "next.pt").replace(last)
        torch.save(average.state_dict(), run / f"average_{epoch:03d}.pt")
    torch.save(average.state_dict(), run / "final.pt")


if __name__ == "__main__":
    main()
