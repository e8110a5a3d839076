"""/api/historical: ranges of the record, as JSON, NDJSON, CSV, Arrow or Parquet."""
