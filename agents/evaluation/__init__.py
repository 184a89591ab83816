"""From saved episodes to figures, intervals and a report; `metrics` defines every figure."""
