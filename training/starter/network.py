"""EfficientNet-Lite0 with any number of linear outputs, with the parameter names of the ImageNet file.

The backbone is that of `cxr_pneumonia/model.py`; here the lowest blocks stay as ImageNet left them, which halves the cost of a step.
"""

import pathlib
import sys

import torch
from torch import nn
from torch.nn import functional

sys.path.append(str(pathlib.Path(__file__).parents[1] / "cxr_pneumonia"))
import model as lite  # noqa: E402

FROZEN = 3  # lowest blocks that are not trained unless said


class Network(nn.Module):
    """Backbone and one linear output a finding."""

    def __init__(self, channels, findings, frozen=FROZEN):
        super().__init__()
        base = lite.Lite0()
        self._conv_stem, self._bn0 = lite.SameConv(channels, lite.STEM, 3, 2), base._bn0
        self._blocks, self._conv_head, self._bn1 = base._blocks, base._conv_head, base._bn1
        self.dropout, self.head = nn.Dropout(0.25), nn.Linear(lite.WIDTH, findings)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, -1.0)
        self.frozen = [self._conv_stem, self._bn0, *self._blocks[:frozen]] if frozen >= 0 else []
        for part in self.frozen:
            part.requires_grad_(False)

    def train(self, mode=True):
        """Frozen layers keep their batch statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def features(self, x):
        x = functional.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x)), inplace=True)

    def forward(self, x):
        return self.head(self.dropout(self.features(x).mean((2, 3))))

    def load_imagenet(self, path):
        """Load the ImageNet file; grey is the sum of the three stem filters."""
        state = {key: value for key, value in torch.load(path, map_location="cpu").items() if not key.startswith("_fc")}
        if self._conv_stem.in_channels == 1:
            state["_conv_stem.weight"] = state["_conv_stem.weight"].sum(1, keepdim=True)
        missing, unexpected = self.load_state_dict(state, strict=False)
        assert not unexpected and {key.split(".")[0] for key in missing} == {"head"}
