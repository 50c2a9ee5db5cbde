"""The one measurement core: turns and rounds, statistics, records and the store that keeps them."""
