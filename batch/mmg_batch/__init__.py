"""Many recordings decided by one or more bundles, on one machine or on a Ray cluster, and a report of the results."""
