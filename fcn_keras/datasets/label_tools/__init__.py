"""Reads the files that label tools export. `fcn_keras.datasets.label_tools.importing` makes a folder to train on."""
