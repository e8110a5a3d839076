"""The simulated providers of prices, news, sentiment, gas, statistics, balances, RPC and whales."""
