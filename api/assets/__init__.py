"""Assets over exchanges: GET /market, GET /market/{asset}, and what describes them."""
