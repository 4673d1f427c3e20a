"""Lets PyPI's torchvision, built for CUDA, be imported beside a torch built for the CPU."""

import importlib.abc
import sys


class _Finder(importlib.abc.MetaPathFinder):
    library = None  # what it declares lives as long as this object

    def find_spec(self, name, path=None, target=None):  # finds nothing: it prepares torch
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            if torch.version.cuda is None:
                _Finder.library = torch.library.Library("torchvision", "FRAGMENT")
                for name in ("nms", "qnms"):
                    _Finder.library.define(
                        f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                    )
        return


sys.meta_path.insert(0, _Finder())
