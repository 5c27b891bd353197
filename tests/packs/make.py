"""Makes the two synthetic packs and the graph beside this file, whose right answers are known to the pixel. Needs onnx, numpy, safetensors.

`brightness` (decomposable): features are the means of the 4x4 cells of a 32x32 picture, doubled by a weight that lies in an
external file; logit = 3 x mean(features) - 3. `centre` (opaque): softmax logits (0, 8 x mean of the middle half - 4).

`graphs/colours.onnx` is a bare graph as others export it: one picture at a time, channels last, 24 rows and 32 columns; it returns
softmax(8 x mean of the channel) of red, green and blue.
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
CODE = {"scheme": "SCT", "value": "404684003", "meaning": "Clinical finding"}


def value(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])


def save(nodes, outputs, initializers, path, external):
    graph = helper.make_graph(nodes, path.stem, [value("image", 1, 32, 32)], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)


def manifest(folder, name, model, finding, **more):
    ours = {
        "pack_format": 1, "id": name, "title": f"Synthetic: {name}", "program": name,
        "intended_use": {"statement": "Tests only; not for clinical use without local validation.", "modalities": ["DX", "OT"], "photographs": True},
        "terms": {"licence": "Apache-2.0", "research_only": False},
        "model": model,
        "preprocessing": {"width": 32, "height": 32, "channels": 1, "mean": [0.0], "std": [1.0]},
        "findings": finding, **more,
    }
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "configs/metadata.json").write_text(json.dumps({"version": "1.0.0", "overread": ours}, indent=2) + "\n")
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs/README.md").write_text(f"# {name}\n\nA synthetic pack for tests. Not for clinical use.\n")


def brightness():
    folder = HERE / "brightness"
    weight = numpy_helper.from_array(np.full((1, 1, 1, 1), 2, np.float32), "double")
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["cells", "double"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["pooled"], axes=[2, 3], keepdims=0),
        helper.make_node("Identity", ["pooled"], ["embedding"]),
    ]
    outputs = [value("features", 1, 4, 4), value("pooled", 1), value("embedding", 1)]
    save(nodes, outputs, [weight], folder / "models/backbone.onnx", True)
    save_file({
        "weight": np.array([[3]], np.float32), "bias": np.array([-3], np.float32),
        "ood.mean": np.array([1], np.float32), "ood.components": np.array([[1]], np.float32), "ood.variance": np.array([0.25], np.float32),
    }, folder / "head.safetensors")
    calibration = {"method": "platt", "slope": 1.0, "intercept": 0.0, "reference_prevalence": 0.5, "patients": 100, "positives": 50}
    finding = [{"label": "bright", "code": CODE, "calibration": calibration, "rule_out": {"probability": 0.2}, "rule_in": {"probability": 0.8}}]
    model = {"kind": "decomposable", "backbone": "models/backbone.onnx", "head": "head.safetensors",
             "input": "image", "features": "features", "pooled": "pooled", "embedding": "embedding"}
    manifest(folder, "brightness", model, finding,
             out_of_distribution={"method": "ppca-mahalanobis", "threshold": 3.0, "residual_variance": 1.0})


def centre():
    folder = HERE / "centre"
    constant = lambda name, data: numpy_helper.from_array(np.array(data), name)
    initializers = [constant("from", [8, 8]), constant("to", [24, 24]), constant("axes", [2, 3]),
                    constant("eight", np.float32(8)), constant("four", np.float32(4)), constant("zero", np.float32(0))]
    nodes = [
        helper.make_node("Slice", ["image", "from", "to", "axes"], ["middle"]),
        helper.make_node("ReduceMean", ["middle"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "eight"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "four"], ["bright"]),
        helper.make_node("Mul", ["mean", "zero"], ["dark"]),
        helper.make_node("Concat", ["dark", "bright"], ["logits"], axis=1),
    ]
    save(nodes, [value("logits", 2)], initializers, folder / "models/model.onnx", False)
    model = {"kind": "opaque", "graph": "models/model.onnx", "input": "image", "output": "logits", "activation": "softmax-logits"}
    manifest(folder, "centre", model, [{"label": label, "code": CODE} for label in ("dark", "bright")])


def colours():
    eight = numpy_helper.from_array(np.float32(8), "eight")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "eight"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["y"], axis=1),
    ]
    shape = lambda name, *sizes: helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
    graph = helper.make_graph(nodes, "colours", [shape("x", 1, 24, 32, 3)], [shape("y", 1, 3)], [eight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    (HERE / "graphs").mkdir(exist_ok=True)
    onnx.save_model(model, HERE / "graphs/colours.onnx")


if __name__ == "__main__":
    colours()
    brightness()
    centre()
