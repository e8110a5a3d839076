"""The exchanges' public WebSockets: connections, subscriptions, pushes by the clock, and faults.

How an exchange plugs in: a package of its own (simulator/<exchange>/streams/) with a subclass of
`StreamExchange` (exchange.py), named by one line, `streams = OwnStreams`, in its `Exchange`. The
subclass says which paths are WebSockets, answers control messages with `session.send`,
`session.subscribe` and `session.unsubscribe`, and makes a `Feed` (feeds.py) for a stream's name:
what that stream pushes, and when, while anyone is subscribed. Everything else is shared: the
connections (connections.py), who gets what (hub.py), the candles' timing (candle_feed.py), order
books (book.py), faults (faults.py), settings of POST /sim/streams (settings.py) and counts
(stats.py).

Time is the simulator's: what a feed pushes, limits, pings and lives follow the exchange's clock at
any speed. Pushes of forming states are left out where the process is too busy or the time too fast
for them, as a later state replaces an earlier one; closings are never left out.
"""
