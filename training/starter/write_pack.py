"""Write a pack's two ONNX graphs over one weights file, and the linear head, from one or more checkpoints (averaged).

A program with few patients (`back` in programs.py) has its weights pulled back towards ImageNet and its head fitted anew.
"""

import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, TensorProto
from safetensors.numpy import save_file

from network import Network
from programs import PROGRAMS
from refit import refit, towards
import export as parts  # of cxr_pneumonia: the graph builder is the same
import model as lite


def average(program, paths):
    """The mean of several checkpoints that started from the same weights."""
    states = [torch.load(path, map_location="cpu") for path in paths]
    network = Network(program.channels, len(program.labels))
    network.load_state_dict({key: sum(state[key].double() for state in states).div(len(states)).to(states[0][key].dtype) for key in states[0]})
    return network.eval()


def finish(graph, name, program, outputs):
    """A checked model with a free batch size."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", program.channels, program.size[1], program.size[0]])
    outputs = [helper.make_tensor_value_info(key, TensorProto.FLOAT, ["N", *shape]) for key, shape in outputs]
    built = helper.make_graph(graph.nodes, name, [image], outputs, graph.tensors)
    return helper.make_model(built, producer_name="overread", ir_version=8, opset_imports=[helper.make_opsetid("", parts.OPSET)])


def write(program, network, pack):
    """models/ and head.safetensors."""
    folder = pack / "models"
    folder.mkdir(parents=True, exist_ok=True)
    store, (width, height) = parts.Store("weights.bin"), program.size
    graph = parts.Graph(store)
    taps = parts.backbone(graph, network, parts.TAPS)
    graph.node("Concat", [*taps, "pooled"], "embedding", axis=1)
    length = sum(network._blocks[index]._project_conv.out_channels for index in parts.TAPS) + lite.WIDTH
    shapes = [("features", (lite.WIDTH, height // 32, width // 32)), ("pooled", (lite.WIDTH,)), ("embedding", (length,))]
    onnx.save(finish(graph, "backbone", program, shapes), folder / "backbone.onnx")
    weight, bias = network.head.weight.detach().numpy(), network.head.bias.detach().numpy()
    fused = parts.Graph(store)
    parts.backbone(fused, network)
    fused.node("Gemm", ["pooled", fused.constant("head.weight", weight), fused.constant("head.bias", bias)], "logits", transB=1)
    onnx.save(finish(fused, "fused", program, [("logits", (len(bias),))]), folder / "fused.onnx")
    (folder / "weights.bin").write_bytes(store.data)
    for name in ("backbone.onnx", "fused.onnx"):
        onnx.checker.check_model(str(folder / name), full_check=True)
    save_file({"weight": weight, "bias": bias}, pack / "head.safetensors")


def compare(program, network, pack):
    """Print how far the graphs are from the trained network, on smooth fields."""
    coarse = torch.randn(4, program.channels, 7, 7, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(coarse, program.size[::-1], mode="bicubic", align_corners=False)
    with torch.no_grad():
        expected = network(image).numpy()
    run = lambda name, out: onnxruntime.InferenceSession(pack / "models" / name, providers=["CPUExecutionProvider"]).run([out], {"image": image.numpy()})[0]
    own = run("backbone.onnx", "pooled") @ network.head.weight.detach().numpy().T + network.head.bias.detach().numpy()
    print(f"fused against torch {np.abs(run('fused.onnx', 'logits') - expected).max():.2e}; head against torch {np.abs(own - expected).max():.2e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--pack", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--imagenet", required=True, help="efficientnet-lite0-57934424.pth")
    parser.add_argument("--without", help="the fold that the checkpoint did not see")
    args = parser.parse_args()
    program, pack = PROGRAMS[args.program], pathlib.Path(args.pack)
    network = average(program, args.checkpoints)
    if program.back:
        parts = {f"fold{n}" for n in range(program.folds)} - {args.without} if program.folds else {"train"}
        network = refit(towards(network, program, args.imagenet, program.back), program, args.data, parts)
    write(program, network, pack)
    compare(program, network, pack)


if __name__ == "__main__":
    main()
