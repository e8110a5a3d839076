"""What providers told, in tables: prices, news, sentiment, fees, statistics and whales; and how the
providers did. Rows are stored once: equal readings are no second row."""
