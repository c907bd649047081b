"""Data: what a Dataset is, the data sets by name, and images of your own in folders and tables."""

from .dataset import Dataset
from .sources import DamagedData, MissingData, load, names

__all__ = ["DamagedData", "Dataset", "MissingData", "load", "names"]
