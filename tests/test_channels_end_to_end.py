"""Folders of images with any channels: through the command line from the files to masks, and what is refused."""

import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import fcn_keras
from fcn_keras import datasets
from fcn_keras.cli import main
from fcn_keras.datasets.check import check
from fcn_keras.datasets.folder import make_builder
from fcn_keras.models.channels import get_ranges
