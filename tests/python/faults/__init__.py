"""Crashes, outages, broken connections and failover: no order and no event is lost."""
