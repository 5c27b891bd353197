"""EfficientNet-Lite0 for one grey channel, with the parameter names of the ImageNet file.

Padding is TensorFlow's "same" (at stride 2 on even sizes: one more below and to the right),
because the ImageNet weights were trained with it.
"""

import torch
from torch import nn
from torch.nn import functional

# repeats, kernel, stride, expansion, channels out
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
          (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
STEM, WIDTH = 32, 1280
EPSILON = 1e-3


def batch_norm(channels):
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=0.05)


class SameConv(nn.Conv2d):
    """A convolution with "same" padding for even sizes."""

    def __init__(self, channels_in, channels_out, kernel, stride=1, groups=1):
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups, bias=False)
        total = kernel - stride
        self.sides = (total // 2, total - total // 2) if kernel > 1 else (0, 0)
        if self.sides[0] == self.sides[1]:
            self.padding = (self.sides[0], self.sides[0])

    def forward(self, x):
        before, after = self.sides
        if before != after:
            x = functional.pad(x, (before, after, before, after))
        return super().forward(x)


class Block(nn.Module):
    """Inverted residual without squeeze and excitation."""

    def __init__(self, channels_in, channels_out, kernel, stride, expansion):
        super().__init__()
        middle = channels_in * expansion
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = SameConv(channels_in, middle, 1)
            self._bn0 = batch_norm(middle)
        self._depthwise_conv = SameConv(middle, middle, kernel, stride, groups=middle)
        self._bn1 = batch_norm(middle)
        self._project_conv = SameConv(middle, channels_out, 1)
        self._bn2 = batch_norm(channels_out)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x):
        y = x
        if self.expands:
            y = functional.relu6(self._bn0(self._expand_conv(y)), inplace=True)
        y = functional.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class Lite0(nn.Module):
    """Backbone and two linear outputs: pneumonia, and bacteria against virus (training only)."""

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(1, STEM, 3, 2), batch_norm(STEM)
        blocks, channels = [], STEM
        for repeats, kernel, stride, expansion, out in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(channels, out, kernel, 1 if repeat else stride, expansion))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(channels, WIDTH, 1), batch_norm(WIDTH)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(WIDTH, 1)
        self.organism = nn.Linear(WIDTH, 1)
        for layer in (self.head, self.organism):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def features(self, x):
        x = functional.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x)), inplace=True)

    def forward(self, x):
        pooled = self.dropout(self.features(x).mean((2, 3)))
        return self.head(pooled)[:, 0], self.organism(pooled)[:, 0]

    def load_imagenet(self, path):
        """Load the ImageNet file; grey is the sum of the three stem filters."""
        state = torch.load(path, map_location="cpu")
        state = {key: value for key, value in state.items() if not key.startswith("_fc")}
        state["_conv_stem.weight"] = state["_conv_stem.weight"].sum(1, keepdim=True)
        missing, unexpected = self.load_state_dict(state, strict=False)
        assert not unexpected and {key.split(".")[0] for key in missing} == {"head", "organism"}
