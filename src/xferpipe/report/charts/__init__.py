"""The figures of each part of the report: one module per question that the page answers."""
