"""Make an INT8 graph of a pack, and say what it brings and costs beside the float one. The pack is left as it is.

Static quantisation by ONNX Runtime (QDQ): weights symmetric and per channel, activations uint8. Ranges are taken from images of the training part; held-out images are
answered for once by either graph. The head and the out-of-distribution model stay in float, outside the graph, as in `overread`.
"""

import argparse
import collections
import json
import pathlib
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors.numpy import load_file
from scipy.stats import rankdata

import data
from calibrate import aggregate
from pca import ood_score
from programs import PROGRAMS, Program

HERE = pathlib.Path(__file__).parent
CHESTS = Program("cxr-pneumonia", "cxr_pneumonia", {"pneumonia": "label:pneumonia"}, (224, 224), (160, 160), 1, 52, group="patient", case="patient")
QUANTISABLE = {p.name: p for p in (*PROGRAMS.values(), CHESTS) if not p.folds}  # a program of folds has no one held-out part
OUTPUTS = ["features", "pooled", "embedding"]
BATCH, REPLICATES = 4, 2000
STRANGERS = 40  # images of each other program


def evenly(items, most):
    """At most so many, over the whole list: tables are sorted by label."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]


class Images:
    """Tensors of files as the pack's manifest prepares them."""

    def __init__(self, program, paths, manifest):
        how = manifest["preprocessing"]
        mean, std = (np.array(how[key], np.float32) for key in ("mean", "std"))
        self.tensors = [np.ascontiguousarray(((data.resize(data.read(path, program.channels), program.size) - mean) / std).transpose(2, 0, 1)) for path in paths]

    def batches(self):
        return (np.stack(self.tensors[start:start + BATCH]) for start in range(0, len(self.tensors), BATCH))


class Part(Images):
    """One part of a program's split, with labels and groups; `most` images of it, evenly."""

    def __init__(self, program, folder, part, manifest, most=None):
        where = HERE.parent / "cxr_pneumonia/split.csv" if program is CHESTS else HERE / f"splits/{program.name}.csv"
        split = {row["file"]: row for row in data.rows_of_file(where)}
        rows = [row for row in data.rows_of(program, folder) if split.get(row["file"], {}).get("split") == part]
        rows = rows if most is None else evenly(rows, most)
        self.label = data.targets(program, rows).astype(bool)
        self.group = np.array([split[row["file"]].get("group") or split[row["file"]]["patient"] for row in rows])
        super().__init__(program, (pathlib.Path(folder) / program.data / row["file"] for row in rows), manifest)


def strangers(program, folder, manifest):
    """Images of the other programs, which a pack must refuse."""
    paths = [pathlib.Path(folder) / other.data / file for other in PROGRAMS.values() if other.name != program.name
             for file in evenly(sorted(f for f, (_, part) in data.read_split(other).items() if part in ("test", "fold0")), STRANGERS)]
    return Images(program, paths, manifest)


class Ranges(quantization.CalibrationDataReader):
    """The images from which ONNX Runtime takes the range of each activation."""

    def __init__(self, images):
        self.left = ({"image": batch} for batch in images.batches())

    def get_next(self):
        return next(self.left, None)


def quantise(graph, images, out):
    """Write the INT8 graph. Convolutions, their ReLU6 and the sums are quantised; the means that make `pooled` and `embedding` stay in float."""
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / "plain.onnx"
        quant_pre_process(onnx.load(graph), plain, skip_symbolic_shape=True)  # float16 weights and their casts become float32 constants
        quantization.quantize_static(plain, out, Ranges(images), quant_format=quantization.QuantFormat.QDQ, op_types_to_quantize=["Conv", "Clip", "Add"],
                                     per_channel=True, activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
                                     calibrate_method=quantization.CalibrationMethod.MinMax, extra_options={"WeightSymmetric": True, "ActivationSymmetric": False})


def session(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class Answers:
    """Logits and out-of-distribution scores of a graph with the pack's own head."""

    def __init__(self, graph, images, head, manifest):
        run = session(graph)
        pooled, embedding = (np.concatenate(column) for column in zip(*(run.run(OUTPUTS[1:], {"image": batch}) for batch in images.batches())))
        self.logit = pooled.astype(np.float64) @ head["weight"].T + head["bias"]
        self.strange = ood_score(embedding, head["ood.mean"], head["ood.components"], head["ood.variance"], manifest["out_of_distribution"]["residual_variance"])


def decisions(logit, findings):
    """-1 absent, 0 indeterminate, 1 present, [rows, findings], at the pack's calibration and thresholds."""
    out = np.zeros(logit.shape, int)
    for column, finding in enumerate(findings):
        if "calibration" not in finding:
            continue
        probability = 1 / (1 + np.exp(-(finding["calibration"]["slope"] * logit[:, column] + finding["calibration"]["intercept"])))
        out[probability <= finding.get("rule_out", {}).get("probability", -1), column] = -1
        out[probability >= finding.get("rule_in", {}).get("probability", 2), column] = 1
    return out


def auroc(score, positive):
    """Mann and Whitney's statistic; ties count half."""
    sick = positive.sum()
    return (rankdata(score)[positive].sum() - sick * (sick + 1) / 2) / (sick * (len(score) - sick))


def difference(score, other, positive, group, rng):
    """AUROC of both and the 95% interval of the second minus the first: a bootstrap of groups, the same ones for both."""
    members = collections.defaultdict(list)
    for row, name in enumerate(group):
        members[name].append(row)
    members, found = [np.array(rows) for rows in members.values()], []
    while len(found) < REPLICATES:
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        if 0 < positive[drawn].sum() < len(drawn):
            found.append(auroc(other[drawn], positive[drawn]) - auroc(score[drawn], positive[drawn]))
    low, high = np.quantile(found, (0.025, 0.975))
    first, second = auroc(score, positive), auroc(other, positive)
    return {"float": first, "int8": second, "difference": second - first, "low": low, "high": high}


def by_case(program, images, logit):
    """One row a case: the logits as the reader joins them, the labels, the groups. A case is a group, or an image; refused images count, too."""
    if program.case == "file":
        return logit, images.label, images.group
    names = sorted(set(images.group))
    rows = [images.group == name for name in names]
    return np.stack([aggregate(program, logit[r]) for r in rows]), np.stack([images.label[r].max(0) for r in rows]), np.array(names)


def out_of_distribution(a, b, others, manifest):
    """Scores and refusals at the pack's limit, and at one that lets through as many of the calibration part as the float graph's does."""
    limit, ((apart, apart8), (foreign, foreign8)) = manifest["out_of_distribution"]["threshold"], others
    own = float(np.quantile(apart8, np.mean(apart <= limit)))
    share = lambda score, score8: {"float": float(np.mean(score > limit)), "int8": float(np.mean(score8 > limit)), "int8_at_own_limit": float(np.mean(score8 > own))}
    return {"limit": limit, "own_limit": own, "score": {"float": float(np.median(a.strange)), "int8": float(np.median(b.strange))},
            "change": spread(np.abs(a.strange - b.strange)), "refused": share(a.strange, b.strange), "strangers_refused": share(foreign, foreign8)}


def core_time(graphs, images, rounds):
    """Median processor time an image in milliseconds, of one thread, the graphs in turn."""
    sessions, batch = [session(graph) for graph in graphs], np.stack(images.tensors[:BATCH])
    spent = [[] for _ in graphs]
    for turn in range(rounds + 3):
        for run, times in zip(sessions, spent):
            start = time.process_time()
            run.run(OUTPUTS, {"image": batch})
            if turn >= 3:  # the first ones allocate
                times.append((time.process_time() - start) * 1000 / len(batch))
    return [float(np.median(times)) for times in spent]


def spread(values):
    return {"median": float(np.median(values)), "max": float(np.max(values))}


def compare(program, pack, int8, images, own, foreign, rounds):
    """All figures of the two graphs on held-out images; on `own` the INT8 graph gets a limit of its own, `foreign` are to be refused."""
    manifest = json.loads((pack / "configs/metadata.json").read_text())["overread"]
    head, graph, rng = load_file(pack / "head.safetensors"), pack / "models/backbone.onnx", np.random.default_rng(7)
    a, b = (Answers(g, images, head, manifest) for g in (graph, int8))
    limit = manifest["out_of_distribution"]["threshold"]
    refused = out_of_distribution(a, b, [[Answers(g, those, head, manifest).strange for g in (graph, int8)] for those in (own, foreign)], manifest)
    decided, decided8 = (decisions(answers.logit, manifest["findings"]) for answers in (a, b))
    cases, cases8 = (by_case(program, images, answers.logit) for answers in (a, b))
    judged, judged8 = (decisions(logit, manifest["findings"]) for logit, _, _ in (cases, cases8))
    times = core_time((graph, int8), images, rounds)
    return {
        "pack": program.name, "images": len(decided), "cases": len(judged),
        "findings": {name: {"auroc_by_image": difference(a.logit[:, i], b.logit[:, i], images.label[:, i], images.group, rng),
                            "auroc_by_case": difference(cases[0][:, i], cases8[0][:, i], cases[1][:, i], cases[2], rng),
                            "logit_change": spread(np.abs(a.logit - b.logit)[:, i]), "logit_shift": float((b.logit - a.logit)[:, i].mean()),
                            "images_decided_otherwise": int((decided != decided8)[:, i].sum()),
                            "cases_decided_otherwise": int((judged != judged8)[:, i].sum())} for i, name in enumerate(program.labels)},
        "images_with_another_decision": float((decided != decided8).any(1).mean()), "cases_with_another_decision": float((judged != judged8).any(1).mean()),
        "out_of_distribution": refused, "core_ms_an_image": dict(zip(("float", "int8"), times)),
        "bytes": {"float": sum((pack / "models" / name).stat().st_size for name in ("backbone.onnx", "weights.bin")), "int8": int8.stat().st_size},
    }


def table(found):
    """The figures for people, as Markdown."""
    lines = [f"{found['pack']}: {found['images']} held-out images, {found['cases']} cases", "", "| | float | INT8 | difference |", "| --- | --- | --- | --- |"]
    row = lambda *cells: lines.append("| " + " | ".join(cells) + " |")
    for name, finding in found["findings"].items():
        for what in ("image", "case") if found["images"] != found["cases"] else ("image",):
            x = finding[f"auroc_by_{what}"]
            row(f"AUROC by {what}, {name}", f"{x['float']:.4f}", f"{x['int8']:.4f}", f"{x['difference']:+.4f} ({x['low']:+.4f} to {x['high']:+.4f})")
        row(f"logit, {name}", "", "", "median {median:.3f}, at most {max:.3f}".format(**finding["logit_change"]) + f"; mean shift {finding['logit_shift']:+.3f}")
        row(f"decided otherwise, {name}", "", "", f"{finding['images_decided_otherwise']} images, {finding['cases_decided_otherwise']} cases")
    row("any decision changed", "", "", f"{found['images_with_another_decision']:.1%} of images, {found['cases_with_another_decision']:.1%} of cases")
    ood = found["out_of_distribution"]
    row("out-of-distribution score, median", f"{ood['score']['float']:.3f}", f"{ood['score']['int8']:.3f}", "median {median:.3f}, at most {max:.3f}".format(**ood["change"]))
    for key, name in (("refused", "images refused"), ("strangers_refused", "other programs' images refused")):
        row(name, f"{ood[key]['float']:.1%}", f"{ood[key]['int8']:.1%}", f"{ood[key]['int8_at_own_limit']:.1%} at a limit of its own, {ood['own_limit']:.3f}")
    for key, unit, scale in (("core_ms_an_image", "core time, ms an image", 1), ("bytes", "graph and weights, MB", 1e-6)):
        x = found[key]
        row(unit, f"{x['float'] * scale:.2f}", f"{x['int8'] * scale:.2f}", f"× {x['int8'] / x['float']:.2f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=QUANTISABLE)
    parser.add_argument("--data", required=True, help="holds a folder for each data set")
    parser.add_argument("--pack", required=True, type=pathlib.Path, help="the pack's folder; its held-out images must be those of the program's split")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the INT8 graph, an ONNX file")
    parser.add_argument("--images", type=int, default=256, help="training images that ranges are taken from (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=60, help="batches of %d that are timed with each graph (default: %%(default)s)" % BATCH)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    args = parser.parse_args()
    program = QUANTISABLE[args.program]
    manifest = json.loads((args.pack / "configs/metadata.json").read_text())["overread"]
    quantise(args.pack / "models/backbone.onnx", Part(program, args.data, "train", manifest, args.images), args.out)
    held_out, own = (Part(program, args.data, part, manifest) for part in ("test", "calibration"))
    found = compare(program, args.pack, args.out, held_out, own, strangers(program, args.data, manifest), args.rounds)
    print(json.dumps(found, indent=1) if args.format == "json" else table(found))


if __name__ == "__main__":
    main()
