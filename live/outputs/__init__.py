"""The outputs of collectors: where data points go besides callbacks."""
