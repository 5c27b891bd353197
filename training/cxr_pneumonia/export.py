"""Write the pack's two ONNX graphs over one weights file, and the linear head.

Several checkpoints given are averaged first. Batch norms are folded into the convolutions;
convolution weights are stored as float16 and cast to float32 in the graph.
"""

import argparse
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from dataset import SIZE
from model import EPSILON, WIDTH, Lite0

OPSET = 17
ALIGN = 64
TAPS = (0, 2, 4, 7, 10, 14, 15)  # blocks whose global means join the embedding: the last of each stage


class Store:
    """The external data file: bytes are appended once and referred to by every graph."""

    def __init__(self, name):
        self.name, self.data, self.tensors = name, bytearray(), {}

    def add(self, name, array):
        """An initialiser that points into the file."""
        if name not in self.tensors:
            self.data.extend(b"\0" * (-len(self.data) % ALIGN))
            tensor = numpy_helper.from_array(array, name)
            raw = tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", self.name), ("offset", len(self.data)), ("length", len(raw))):
                tensor.external_data.add(key=key, value=str(value))
            self.data.extend(raw)
            self.tensors[name] = tensor
        return self.tensors[name]


class Graph:
    """Nodes and initialisers of one graph, written in order."""

    def __init__(self, store):
        self.store, self.nodes, self.tensors = store, [], []
        for name, value in (("zero", 0.0), ("six", 6.0)):
            self.tensors.append(numpy_helper.from_array(np.array(value, np.float32), name))

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name, array):
        self.tensors.append(self.store.add(name, array))
        return name

    def conv(self, x, name, layer, norm, active=True):
        """Convolution with its batch norm folded in, then ReLU6 where asked."""
        scale = norm.weight / torch.sqrt(norm.running_var + EPSILON)
        weight = (layer.weight * scale[:, None, None, None]).detach().numpy()
        bias = (norm.bias - norm.running_mean * scale).detach().numpy()
        half = self.constant(f"{name}.weight", weight.astype(np.float16))
        full = self.node("Cast", [half], f"{name}.weight_f32", to=TensorProto.FLOAT)
        before, after = layer.sides
        x = self.node("Conv", [x, full, self.constant(f"{name}.bias", bias.astype(np.float32))], f"{name}.conv",
                      kernel_shape=list(layer.kernel_size), strides=list(layer.stride), group=layer.groups,
                      pads=[before, before, after, after])
        return self.node("Clip", [x, "zero", "six"], f"{name}.relu6") if active else x

    def mean(self, x, output):
        return self.node("ReduceMean", [x], output, axes=[2, 3], keepdims=0)


def backbone(graph, model, tapped=()):
    """All layers up to `features` and `pooled`; returns the global means of the tapped blocks."""
    x, taps = graph.conv("image", "stem", model._conv_stem, model._bn0), []
    for index, block in enumerate(model._blocks):
        name, y = f"block{index}", x
        if block.expands:
            y = graph.conv(y, f"{name}.expand", block._expand_conv, block._bn0)
        y = graph.conv(y, f"{name}.depthwise", block._depthwise_conv, block._bn1)
        y = graph.conv(y, f"{name}.project", block._project_conv, block._bn2, active=False)
        x = graph.node("Add", [x, y], f"{name}.sum") if block.residual else y
        if index in tapped:
            taps.append(graph.mean(x, f"{name}.mean"))
    x = graph.conv(x, "last", model._conv_head, model._bn1)
    graph.node("Identity", [x], "features")
    graph.mean("features", "pooled")
    return taps


def finish(graph, name, outputs):
    """A checked model with a free batch size."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])
    outputs = [helper.make_tensor_value_info(key, TensorProto.FLOAT, ["N", *shape]) for key, shape in outputs]
    built = helper.make_graph(graph.nodes, name, [image], outputs, graph.tensors)
    return helper.make_model(built, producer_name="overread", ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])


def average(paths):
    """The mean of several checkpoints of one run."""
    states = [torch.load(path, map_location="cpu") for path in paths]
    model = Lite0()
    model.load_state_dict({key: sum(state[key].double() for state in states).div(len(states)).to(states[0][key].dtype)
                           for key in states[0]})
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--pack", required=True)
    args = parser.parse_args()
    model, pack = average(args.checkpoints), pathlib.Path(args.pack)
    folder = pack / "models"
    folder.mkdir(parents=True, exist_ok=True)
    store = Store("weights.bin")

    open_graph = Graph(store)
    taps = backbone(open_graph, model, TAPS)
    open_graph.node("Concat", [*taps, "pooled"], "embedding", axis=1)
    width = sum(model._blocks[index]._project_conv.out_channels for index in TAPS) + WIDTH
    parts = [("features", (WIDTH, SIZE // 32, SIZE // 32)), ("pooled", (WIDTH,)), ("embedding", (width,))]
    onnx.save(finish(open_graph, "backbone", parts), folder / "backbone.onnx")

    weight, bias = model.head.weight.detach().numpy(), model.head.bias.detach().numpy()
    fused = Graph(store)
    backbone(fused, model)
    fused.node("Gemm", ["pooled", fused.constant("head.weight", weight), fused.constant("head.bias", bias)], "logits", transB=1)
    onnx.save(finish(fused, "fused", [("logits", (1,))]), folder / "fused.onnx")
    (folder / "weights.bin").write_bytes(store.data)
    for name in ("backbone.onnx", "fused.onnx"):
        onnx.checker.check_model(str(folder / name), full_check=True)

    head = pack / "head.safetensors"
    tensors = {key: value for key, value in load_file(head).items() if key.startswith("ood.")} if head.exists() else {}
    save_file({**tensors, "weight": weight, "bias": bias}, head)
    compare(model, folder)


def compare(model, folder):
    """Print how far the graphs are from the trained network, on noise and on smooth fields."""
    import onnxruntime
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(4, 1, 7, 7, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=False)
    image[2:] += 0.2 * torch.randn(2, 1, SIZE, SIZE, generator=generator)
    with torch.no_grad():
        expected = model(image)[0].numpy()
    graphs = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
              for name in ("backbone", "fused")}
    logits = graphs["fused"].run(["logits"], {"image": image.numpy()})[0][:, 0]
    pooled = graphs["backbone"].run(["pooled"], {"image": image.numpy()})[0]
    own = pooled @ model.head.weight.detach().numpy()[0] + model.head.bias.item()
    print(f"logits {expected}; fused against torch {np.abs(logits - expected).max():.2e}; "
          f"head against fused {np.abs(own - logits).max():.2e}")


if __name__ == "__main__":
    main()
