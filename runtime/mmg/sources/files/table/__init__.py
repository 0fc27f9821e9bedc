"""Tables as text: CSV and its relatives, from the lines to the columns to SI units."""
