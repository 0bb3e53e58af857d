"""Networks and what prepares their inputs; nothing here remembers anything between ticks."""
