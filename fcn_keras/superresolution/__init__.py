"""Beyond the size of the image (초해상도): masks finer than the image, and photographs finer than they were taken."""

from .images import as_image, interpolated, pairs, quality, reduced, super_resolver
from .masks import finer

__all__ = ["as_image", "finer", "interpolated", "pairs", "quality", "reduced", "super_resolver"]
