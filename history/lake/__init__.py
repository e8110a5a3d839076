"""The record as files: a lake of Parquet files, CSV, and the layout of freqtrade."""
