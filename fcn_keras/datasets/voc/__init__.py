"""PASCAL VOC and SBD: the builder, the folders that it reads, and the official lists."""
