"""Files that `export` wrote, read back: the Parquet lake and CSV; no SQL."""
