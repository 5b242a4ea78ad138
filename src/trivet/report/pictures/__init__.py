"""Every picture, drawn with the same axes, colours and marks."""
