"""/api/prices, news, sentiment, gas, blockchain, whales, balance, rpc, historical, providers."""
