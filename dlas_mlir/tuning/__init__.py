"""Search for schedules by measurement, and what earlier searches found."""
