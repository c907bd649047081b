"""Data: what a Dataset is, the data sets by name, and folders of your own images."""

from .dataset import Dataset
from .folders import image_files
from .sources import DamagedData, MissingData, load, names

__all__ = ["DamagedData", "Dataset", "MissingData", "image_files", "load", "names"]
